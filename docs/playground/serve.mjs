/** `npm start`: builds the playground and the benchmark page and serves them on this machine. `--port N` or PORT asks for a port. */
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, root } from "../../esbuild.config.mjs";
import { staticFiles } from "./static_files.mjs";

const DEFAULT_PORT = 8080;
const HOST = "127.0.0.1";

/** The port asked for; null after saying what is wrong with it. */
function askedPort() {
  let text;
  try {
    const { values } = parseArgs({ options: { port: { type: "string" } } });
    text = values.port ?? process.env.PORT ?? String(DEFAULT_PORT);
  } catch (error) {
    process.stderr.write(`${error.message}\nexpected: npm start -- [--port number]\n`);
    return null;
  }
  const port = Number(text);
  if (/^\d+$/.test(text) && port < 65536) return port;
  process.stderr.write(`--port: got "${text}"; expected a whole number from 0 (any free port) to 65535.\n`);
  return null;
}

const server = createServer(staticFiles(join(root, "build/playground")));

/** Listens on the port, or on the next free one. */
function listen(port) {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      if (error.code !== "EADDRINUSE" || port >= 65535) return reject(error);
      process.stdout.write(`port ${port} is taken, trying ${port + 1}\n`);
      resolve(listen(port + 1));
    });
    server.listen(port, HOST, () => resolve(server.address().port));
  });
}

const asked = askedPort();
if (asked === null) process.exitCode = 2;
else {
  process.stdout.write("building the playground\n");
  await build(["playground", "bench-page"]);
  const port = await listen(asked);
  process.stdout.write(
    `\nThe playground is at http://${HOST}:${port}/ (Ctrl-C ends it), the benchmark at /bench/\n`,
  );
}
