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
import { brotliDecompressSync, gunzipSync } from "node:zlib";
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
    await mkdir(join(folder, "pages/chunks"));
    await writeFile(join(folder, "pages/main.js"), "1");
    await writeFile(join(folder, "pages/chunks/a-ABC.js"), "3");
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
    { host = `127.0.0.1:${port}`, method = "GET", ...more }: Record<string, string> = {},
  ): Promise<{ status: number; headers: IncomingHttpHeaders; body: string; bytes: Buffer }> {
    const headers = { host, ...more };
    const sent = request({ port, host: "127.0.0.1", path, method, headers, agent: false }).end();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const bytes = Buffer.concat(chunks);
    return { status: response.statusCode!, headers: response.headers, body: String(bytes), bytes };
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

  it("compresses what the browser can read, and nothing twice", async () => {
    const plain = await ask("/main.js");
    assert.isUndefined(plain.headers["content-encoding"]);
    for (const [accepted, encoding, decode] of [
      ["gzip, deflate, br", "br", brotliDecompressSync],
      ["gzip;q=1.0", "gzip", gunzipSync],
    ] as const)
      for (let time = 0; time < 2; time++) {
        const { headers, bytes } = await ask("/main.js", { "accept-encoding": accepted });
        assert.equal(headers["content-encoding"], encoding);
        assert.equal(headers.vary, "accept-encoding");
        assert.equal(String(decode(bytes)), plain.body);
      }
  });

  it("lets browsers keep files whose name is a hash, and asks again for the others", async () => {
    const chunk = await ask("/chunks/a-ABC.js");
    assert.equal(chunk.headers["cache-control"], "public, max-age=31536000, immutable");
    const main = await ask("/main.js");
    assert.equal(main.headers["cache-control"], "no-cache");
    const again = await ask("/main.js", { "if-none-match": String(main.headers.etag) });
    assert.deepEqual([again.status, again.body], [304, ""]);
    await writeFile(join(folder, "pages/main.js"), "2");
    const changed = await ask("/main.js", { "if-none-match": String(main.headers.etag) });
    assert.deepEqual([changed.status, changed.body], [200, "2"]);
    assert.equal((await ask("/none")).headers["cache-control"], "no-store");
  });
});
