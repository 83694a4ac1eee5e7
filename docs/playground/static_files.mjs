/** Answers requests with the files of a folder, for pages of this machine alone. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { extname, join, sep } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".map": "application/json",
  ".json": "application/json",
};

/** Names of this machine; a page of another name that leads here must not read what is served (DNS rebinding). */
const HOST = /^(127\.0\.0\.1|localhost)(:\d+)?$/i;

/** Types that are sent compressed. */
const COMPRESSED = new Set([".html", ".js", ".css", ".map"]);
const ENCODERS = {
  br: (bytes) => promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }),
  gzip: promisify(gzip),
};

/** Files whose names hold a hash of their contents never change; others are asked for again, and answered 304. */
const IMMUTABLE = /^\/chunks\//;

/** Headers of every answer: nothing from elsewhere is loaded, embeds the page, or shares its process. */
const HEADERS = {
  "content-security-policy":
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** A handler for `createServer` of node:http. */
export function staticFiles(folder) {
  /** Compressed files by the hash of their contents and the encoding. */
  const encoded = new Map();
  const encode = (tag, encoding, bytes) => {
    const key = `${encoding} ${tag}`;
    if (!encoded.has(key)) encoded.set(key, ENCODERS[encoding](bytes));
    return encoded.get(key);
  };
  return async (request, response) => {
    const answer = (status, headers = {}, body = undefined) =>
      response
        .writeHead(status, { ...HEADERS, ...headers })
        .end(request.method === "HEAD" ? undefined : body);
    const refuse = (status, text, headers = {}) =>
      answer(
        status,
        { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store", ...headers },
        text,
      );
    if (!HOST.test(request.headers.host ?? ""))
      return refuse(403, "This server answers at http://127.0.0.1 and http://localhost only.");
    if (request.method !== "GET" && request.method !== "HEAD")
      return refuse(405, "only GET and HEAD", { allow: "GET, HEAD" });
    let path;
    try {
      path = decodeURIComponent(new URL(request.url, "http://127.0.0.1").pathname);
    } catch {
      return refuse(400, "bad address");
    }
    if (path === "/bench") return answer(301, { location: "/bench/" });
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    const bytes = file.startsWith(folder + sep) ? await readFile(file).catch(() => null) : null;
    if (!bytes) return refuse(404, "not here");
    const tag = `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`;
    const accepted = String(request.headers["accept-encoding"] ?? "")
      .split(",")
      .map((part) => part.split(";")[0].trim());
    const encoding = COMPRESSED.has(extname(file))
      ? ["br", "gzip"].find((name) => accepted.includes(name))
      : undefined;
    const headers = {
      "content-type": TYPES[extname(file)] ?? "application/octet-stream",
      "cache-control": IMMUTABLE.test(path) ? "public, max-age=31536000, immutable" : "no-cache",
      etag: tag,
      vary: "accept-encoding",
      ...(encoding && { "content-encoding": encoding }),
    };
    if (request.headers["if-none-match"] === tag) return answer(304, headers);
    return answer(200, headers, encoding ? await encode(tag, encoding, bytes) : bytes);
  };
}
