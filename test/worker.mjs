/**
 * Runs test files that test/run.mjs sends, one after another in one process, so that they share a device, and answers each
 * with what its reporter printed and the count of its tests.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import Mocha from "mocha";

const [folder, grep] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(folder, name)).href);
const { restartDraws } = await load("support/random.js");

let printed = "";
const streams = [process.stdout, process.stderr].map((stream) => [stream, stream.write.bind(stream)]);
for (const [stream] of streams)
  stream.write = (chunk, encoding, done) => {
    printed += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
    (typeof encoding === "function" ? encoding : done)?.();
    return true;
  };
// What an error ended: shown by the process itself.
process.on("exit", () => streams[0][1](printed));

async function run(file) {
  const result = { passed: 0, skipped: 0, failed: [] };
  const mocha = new Mocha({ timeout: 120_000, color: process.env.FORCE_COLOR === "1" });
  if (grep) mocha.grep(new RegExp(grep));
  restartDraws();
  mocha.suite.emit("pre-require", globalThis, file, mocha);
  try {
    await load(file);
  } catch (error) {
    console.log(`  ${file} does not load: ${error.stack ?? error}`);
    return { ...result, failed: [`${file} does not load: ${error.message ?? error}`] };
  }
  await new Promise((resolve) => {
    const runner = mocha.run(resolve);
    runner.on("pass", () => result.passed++);
    runner.on("pending", () => result.skipped++);
    runner.on("fail", (test, error) =>
      result.failed.push(`${test.fullTitle()}\n    ${error.message ?? error}`),
    );
  });
  // Two runs that both listen for unhandled rejections would pass them to each other for ever.
  mocha.dispose();
  for (const reason of unhandled.values())
    result.failed.push(`${file}: a promise was rejected and nobody handled it: ${reason?.stack ?? reason}`);
  unhandled.clear();
  return result;
}

/** Rejections that nobody handled while the file ran. Mocha ignores them. */
const unhandled = new Map();
process.on("unhandledRejection", (reason, promise) => unhandled.set(promise, reason));

process.on("message", async (file) => {
  const result = await run(file);
  const ran = result.passed + result.skipped + result.failed.length > 0;
  process.send({ ...result, printed: ran ? printed : "" });
  printed = "";
});
process.on("disconnect", () => process.exit());
process.send("ready");
