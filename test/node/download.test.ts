/** Downloads from a server in this process that behaves badly. */
import { assert } from "chai";
import { once } from "node:events";
import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { download, type DownloadLimits } from "../../hrm/files/sources/download.js";
import { SourceError, urlSource } from "../../hrm/files/sources/sources.js";
import { rejection } from "../support/rejection.js";

const SMALL: Partial<DownloadLimits> = { maxBytes: 1e6 };
/** Only for answers that never end: others would take too long on a busy machine. */
const IMPATIENT: Partial<DownloadLimits> = { patienceMs: 500, minBytes: 10_000 };

describe("downloads", () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  /** The address of a server that answers so. */
  async function serve(answer: RequestListener): Promise<string> {
    const server = createServer(answer).listen(0, "127.0.0.1");
    servers.push(server);
    await once(server, "listening");
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/puzzles.csv`;
  }

  async function failure(answer: RequestListener, limits = SMALL): Promise<string> {
    const error = await rejection(download(await serve(answer), limits));
    assert.instanceOf(error, SourceError);
    assert.match(error.message, /^cannot read http:/);
    return error.message;
  }

  it("come as they are, in chunks, compressed, after redirects", async () => {
    const text = "a,b\n".repeat(50_000);
    const answers: Record<string, (response: ServerResponse) => unknown> = {
      "/puzzles.csv": (response) => response.writeHead(302, { location: "/zipped" }).end(),
      "/zipped": (response) => response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(text)),
      "/empty": (response) => response.end(),
      "/chunked": (response) => {
        response.writeHead(200).write(text.slice(0, 100));
        response.end(text.slice(100));
      },
    };
    const address = await serve((request, response) => answers[request.url!]!(response));
    for (const path of ["puzzles.csv", "chunked"])
      assert.equal(new TextDecoder().decode((await download(new URL(path, address).href, SMALL))!), text);
    assert.deepEqual([...(await download(new URL("empty", address).href, SMALL))!], []);
  });

  it("are null if there is no such file", async () => {
    const address = await serve((_, response) => response.writeHead(404).end("<html>nothing here"));
    assert.isNull(await download(address));
    const source = urlSource(address);
    assert.match(String(source.kind === "file" && (await rejection(source.read()))), /no such file \(404\)/);
  });

  it("end at the largest size, announced or not", async () => {
    assert.match(
      await failure((_, response) => response.writeHead(200, { "content-length": 2e9 }).write("a")),
      /it has 2000000000 bytes or more, and the limit is 1000000/,
    );
    let written = 0;
    const endless: RequestListener = (_, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write("a".repeat(65_536))) written += 65_536;
        response.once("drain", more);
      };
      more();
    };
    assert.match(await failure(endless), /and the limit is 1000000.*raise maxBytes/);
    assert.isBelow(written, 100e6);
  });

  it("do not unpack bombs", async () => {
    const bomb = gzipSync(Buffer.alloc(80e6));
    const sent = { "content-encoding": "gzip", "content-length": bomb.length };
    const answer: RequestListener = (_, response) => response.writeHead(200, sent).end(bomb);
    assert.match(await failure(answer), /and the limit is 1000000/);
    assert.match(
      await failure(answer, { maxBytes: 1e9, maxExpansion: 10 }),
      /compressed bytes become more than 67108864/,
    );
  });

  it("do not wait for servers that say nothing, or next to nothing", async () => {
    assert.match(await failure(() => undefined, IMPATIENT), /sends nothing for 0\.5 s/);
    assert.match(
      await failure((_, response) => response.writeHead(200).write("a"), IMPATIENT),
      /only 1 bytes arrived/,
    );
    let timer: NodeJS.Timeout | undefined;
    const drops: RequestListener = (_, response) => {
      response.writeHead(200);
      timer = setInterval(() => response.write("a"), 20);
    };
    assert.match(await failure(drops, IMPATIENT), /only \d+ bytes arrived in 0\.5 s/);
    clearInterval(timer);
  });

  it("follow few redirects, and none to elsewhere than the web", async () => {
    assert.match(
      await failure((_, response) => response.writeHead(302, { location: "/again" }).end()),
      /more than 5 redirects/,
    );
    assert.match(
      await failure((_, response) => response.writeHead(302, { location: "file:///etc/passwd" }).end()),
      /it redirects to file:\/\/\/etc\/passwd, which is not followed/,
    );
  });

  it("are whole", async () => {
    assert.match(
      await failure((_, response) => response.writeHead(206, { "content-range": "bytes 0-1/9" }).end("ab")),
      /a part of the file \(206\)/,
    );
    assert.match(
      await failure((_, response) => {
        response.writeHead(200, { "content-length": 10 }).write("abc");
        setTimeout(() => response.destroy(), 20);
      }),
      /the connection was cut/,
    );
  });

  it("are data, and no page that asks for a login", async () => {
    for (const text of ["<!DOCTYPE html><title>Log in</title>", "\n <html lang=en>", "<HTML>"])
      assert.match(await failure((_, response) => response.end(text)), /a web page \(HTML\) instead of data/);
    assert.match(
      await failure((_, response) => response.writeHead(401).end("<html>")),
      /answers 401, it wants a login/,
    );
  });

  it("name the cause", async () => {
    const refused = await serve(() => undefined);
    const [server] = servers.splice(0);
    server!.close();
    await once(server!, "close");
    const noHttp = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.end("SSH-2.0-OpenSSH_9.2\r\n");
    }).listen(0, "127.0.0.1");
    await once(noHttp, "listening");
    const port = (noHttp.address() as AddressInfo).port;
    try {
      for (const [address, cause] of [
        [refused, /nothing answers there \(ECONNREFUSED\)/],
        [
          "http://no-such-host.invalid/x.csv",
          /there is no such host, or no network \((ENOTFOUND|EAI_AGAIN)\)/,
        ],
        ["http://", /that is no address \(ERR_INVALID_URL\)/],
        ["ftp://127.0.0.1/x.csv", /unknown scheme/],
        [`http://127.0.0.1:${port}/`, /does not speak HTTP as expected \(HPE_/],
        [`https://127.0.0.1:${port}/`, /does not speak TLS as expected \((EPROTO|ERR_SSL)/],
      ] as const) {
        const error = await rejection(download(address, { patienceMs: 5000 }));
        assert.instanceOf(error, SourceError);
        assert.match(error.message, cause, address);
        assert.notMatch(error.message, /fetch failed$/);
        assert.isOk(error.cause);
      }
    } finally {
      noHttp.close();
    }
  });

  it("say what a certificate lacks", async () => {
    const original = globalThis.fetch;
    for (const code of ["DEPTH_ZERO_SELF_SIGNED_CERT", "CERT_HAS_EXPIRED", "ERR_TLS_CERT_ALTNAME_INVALID"]) {
      const cause = Object.assign(new Error("certificate"), { code });
      globalThis.fetch = () => Promise.reject(new TypeError("fetch failed", { cause }));
      try {
        const error = await rejection(download("https://x.test/a.csv"));
        assert.include(error.message, `its certificate is not trusted (${code})`);
      } finally {
        globalThis.fetch = original;
      }
    }
  });

  it("print foreign text escaped and short", async () => {
    const error = await rejection(download(`http://127.0.0.1:1/\u001b[31m${"x".repeat(10_000)}`));
    assert.notInclude(error.message, "\u001b");
    assert.isBelow(error.message.length, 500);
  });
});
