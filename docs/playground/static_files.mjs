/** Answers requests with the files of a folder, for pages of this machine alone. */
import { readFile } from "node:fs/promises";
import { extname, join, sep } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".map": "application/json",
};

/** Names of this machine; a page of another name that leads here must not read what is served (DNS rebinding). */
const HOST = /^(127\.0\.0\.1|localhost)(:\d+)?$/i;

/** Headers of every answer: nothing from elsewhere is loaded, embeds the page, or shares its process. */
const HEADERS = {
  "cache-control": "no-store",
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
  return async (request, response) => {
    const answer = (status, headers = {}, body = undefined) =>
      response
        .writeHead(status, { ...HEADERS, ...headers })
        .end(request.method === "HEAD" ? undefined : body);
    const refuse = (status, text, headers = {}) =>
      answer(status, { "content-type": "text/plain; charset=utf-8", ...headers }, text);
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
    return answer(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" }, bytes);
  };
}
