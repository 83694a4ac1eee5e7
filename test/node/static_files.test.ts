/** The pages' server: which requests it answers, and the headers of every answer. */
import { assert } from "chai";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import {
  createServer,
  request,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
} from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { staticFiles } from "../../docs/playground/static_files.mjs";

describe("the pages' server", () => {
  let folder: string;
  let server: Server;
  let port: number;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-pages-"));
    await mkdir(join(folder, "pages/bench"), { recursive: true });
    await writeFile(join(folder, "secret.txt"), "secret");
    await writeFile(join(folder, "pages/index.html"), "<p>page");
    await writeFile(join(folder, "pages/main.js"), "1");
    server = createServer(staticFiles(join(folder, "pages"))).listen(0, "127.0.0.1");
    await once(server, "listening");
    ({ port } = server.address() as AddressInfo);
  });
  after(async () => {
    server.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function ask(
    path: string,
    { host = `127.0.0.1:${port}`, method = "GET" } = {},
  ): Promise<{ status: number; headers: IncomingHttpHeaders; body: string }> {
    const sent = request({ port, host: "127.0.0.1", path, method, headers: { host }, agent: false }).end();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    let body = "";
    for await (const chunk of response) body += String(chunk);
    return { status: response.statusCode!, headers: response.headers, body };
  }

  it("answers for this machine's names alone", async () => {
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, "LOCALHOST", "127.0.0.1:9000"])
      assert.equal((await ask("/", { host })).status, 200, host);
    for (const host of [
      "rebind.example",
      `rebind.example:${port}`,
      "127.0.0.1.rebind.example",
      "localhost.",
    ]) {
      const { status, body } = await ask("/", { host });
      assert.equal(status, 403, host);
      assert.notInclude(body, "<p>page");
    }
  });

  it("sends its headers with every answer", async () => {
    for (const [path, status] of [
      ["/", 200],
      ["/main.js", 200],
      ["/bench", 301],
      ["/none", 404],
      ["/%zz", 400],
      ["/..%2fsecret.txt", 404],
      ["/%00", 404],
    ] as const) {
      const answer = await ask(path);
      assert.equal(answer.status, status, path);
      assert.notInclude(answer.body, "secret");
      const { headers } = answer;
      assert.equal(headers["x-content-type-options"], "nosniff", path);
      assert.equal(headers["cross-origin-opener-policy"], "same-origin", path);
      assert.equal(headers["cross-origin-embedder-policy"], "require-corp", path);
      assert.match(
        String(headers["content-security-policy"]),
        /default-src 'self'.*frame-ancestors 'none'/,
        path,
      );
    }
    assert.equal((await ask("/main.js")).headers["content-type"], "text/javascript; charset=utf-8");
    const post = await ask("/", { method: "POST" });
    assert.deepEqual([post.status, post.headers.allow], [405, "GET, HEAD"]);
    assert.equal((await ask("/", { method: "HEAD" })).body, "");
  });
});
