/** Downloads with limits on size, redirects, and time without progress. Errors name their cause. */
import { SourceError } from "./source_error.js";

/** Bounds of a download. */
export interface DownloadLimits {
  /** The most bytes of a file after decompression; default 2^30. */
  readonly maxBytes: number;
  /** Milliseconds within which a server must answer, and then send `minBytes` again and again; default 60,000. */
  readonly patienceMs: number;
  /** The fewest bytes that must arrive within `patienceMs`, except at the end; default 65,536. */
  readonly minBytes: number;
  /** The most redirects that are followed; default 5. In a page the browser's limit holds. */
  readonly maxRedirects: number;
  /** The largest ratio of decompressed to sent bytes; default 100. 64 MiB are always allowed. */
  readonly maxExpansion: number;
}

export const defaultDownloadLimits: DownloadLimits = {
  maxBytes: 2 ** 30,
  patienceMs: 60_000,
  minBytes: 65_536,
  maxRedirects: 5,
  maxExpansion: 100,
};

const ALWAYS_ALLOWED = 2 ** 26;
const REDIRECTS = [301, 302, 303, 307, 308];
/** Advice for every failed download. */
const WAY_OUT = "Download it by other means and give the file";

/**
 * Downloads the bytes at an address. Returns null if the server has no such file.
 * @throws SourceError that names the cause
 */
export async function download(
  address: string,
  given: Partial<DownloadLimits> = {},
): Promise<Uint8Array | null> {
  const limits = { ...defaultDownloadLimits, ...given };
  const fail = (reason: string, cause?: unknown): SourceError =>
    new SourceError(`cannot read ${printable(address)}: ${reason}`, cause === undefined ? {} : { cause });
  const abort = new AbortController();
  const patience = startPatience(limits, abort);
  /** The error of a failed await: one of our limits was reached, or the network failed. */
  const failure = (error: unknown): SourceError =>
    error instanceof SourceError ? error : fail(patience.reason() ?? causeOf(error), error);
  try {
    const response = await answer(address, limits, abort.signal, fail);
    if (response.status === 404) return null;
    if (response.status === 206)
      throw fail("the server answers with a part of the file (206), though all of it was asked for");
    if (response.status !== 200)
      throw fail(`the server answers ${response.status}${MEANINGS[response.status] ?? ""}`);
    const bytes = await body(response, limits, patience.arrived, fail);
    if (isHtml(bytes))
      throw fail(
        "the server answers with a web page (HTML) instead of data: an address of the raw file is expected, one that needs no login",
      );
    return bytes;
  } catch (error) {
    throw failure(error);
  } finally {
    patience.stop();
    // Ends a transfer that was not read to its end.
    abort.abort();
  }
}

const MEANINGS: Readonly<Record<number, string>> = {
  401: ", it wants a login",
  403: ", access is forbidden",
  410: ", the file is gone",
  429: ", too many requests: try later",
};

type Fail = (reason: string, cause?: unknown) => SourceError;

/** The response after all redirects. */
async function answer(
  address: string,
  { maxRedirects }: DownloadLimits,
  signal: AbortSignal,
  fail: Fail,
): Promise<Response> {
  let url = address;
  for (let redirects = 0; ; redirects++) {
    // Asks for an uncompressed response, so that its length is known. Browsers drop this header.
    const request = { signal, headers: { "accept-encoding": "identity" } };
    const response = await fetch(url, { ...request, redirect: "manual" });
    // A page cannot see the target of a redirect, so its browser follows it.
    if (response.type === "opaqueredirect") return fetch(url, { ...request, redirect: "follow" });
    const location = response.headers.get("location");
    if (!REDIRECTS.includes(response.status) || location === null) return response;
    await response.body?.cancel();
    if (redirects >= maxRedirects) throw fail(`there are more than ${maxRedirects} redirects`);
    const next = new URL(location, url);
    if (!/^https?:$/.test(next.protocol) || (url.startsWith("https:") && next.protocol === "http:"))
      throw fail(`it redirects to ${printable(next.href)}, which is not followed`);
    url = next.href;
  }
}

/** Reads all bytes of a response, within the limits. */
async function body(
  response: Response,
  { maxBytes, maxExpansion }: DownloadLimits,
  arrived: (bytes: number) => void,
  fail: Fail,
): Promise<Uint8Array> {
  const encoded = response.headers.get("content-encoding") !== null;
  const length = response.headers.get("content-length");
  // Another origin may hide that a response is compressed. Its length then differs from the number of bytes here.
  const sent = length !== null && response.type !== "cors" ? Number(length) : null;
  const tooLarge = (bytes: number, limit: number): SourceError =>
    fail(`it has ${bytes} bytes or more, and the limit is ${limit}. ${WAY_OUT}, or raise maxBytes`);
  if (sent !== null && sent > maxBytes) throw tooLarge(sent, maxBytes);
  const expanded = encoded && sent !== null ? Math.max(ALWAYS_ALLOWED, sent * maxExpansion) : Infinity;
  const chunks: Uint8Array[] = [];
  let total = 0;
  const reader = response.body?.getReader();
  for (let read = await reader?.read(); read && !read.done; read = await reader!.read()) {
    chunks.push(read.value);
    total += read.value.length;
    arrived(read.value.length);
    if (total > maxBytes) throw tooLarge(total, maxBytes);
    if (total > expanded)
      throw fail(`${sent} compressed bytes become more than ${expanded}. ${WAY_OUT}, or raise maxExpansion`);
  }
  if (!encoded && sent !== null && total !== sent)
    throw fail(`${total} bytes arrived of ${sent} that were announced. Try again`);
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Aborts the download if too few bytes arrive. */
function startPatience({ patienceMs, minBytes }: DownloadLimits, abort: AbortController) {
  let bytes: number | null = null;
  let reason: string | null = null;
  const timer = setInterval(() => {
    if (bytes !== null && bytes >= minBytes) {
      bytes = 0;
      return;
    }
    reason =
      bytes === null
        ? `the server sends nothing for ${patienceMs / 1000} s`
        : `only ${bytes} bytes arrived in ${patienceMs / 1000} s. ${WAY_OUT}, or lower minBytes`;
    abort.abort();
  }, patienceMs);
  return {
    arrived: (more: number) => void (bytes = (bytes ?? 0) + more),
    reason: () => reason,
    stop: () => clearInterval(timer),
  };
}

/** True for a web page, which many servers send in place of a missing file. */
function isHtml(bytes: Uint8Array): boolean {
  return /^\s*(<!doctype html|<html[\s>])/i.test(new TextDecoder().decode(bytes.subarray(0, 256)));
}

/** Codes of Node's network errors, in words. */
const CAUSES: readonly (readonly [code: RegExp, meaning: string])[] = [
  [/^(ENOTFOUND|EAI_)/, "there is no such host, or no network"],
  [/^ECONNREFUSED$/, "nothing answers there"],
  [/^(EHOSTUNREACH|ENETUNREACH)$/, "there is no way to that host"],
  [/TIMEOUT|^ETIMEDOUT$/, "the host does not answer in time"],
  [/^(ECONNRESET|EPIPE|UND_ERR_SOCKET)$/, "the connection was cut"],
  [/CERT|SELF_SIGNED|^UNABLE_TO_/, "its certificate is not trusted"],
  [/^(ERR_SSL|EPROTO)/, "it does not speak TLS as expected"],
  [/^HPE_/, "it does not speak HTTP as expected"],
  [/^ERR_INVALID_URL$/, "that is no address"],
];

/** The causes behind an error of `fetch`, the innermost known one in words. */
function causeOf(error: unknown): string {
  const chain: { message?: string; code?: unknown }[] = [];
  let at: unknown = error;
  while (typeof at === "object" && at !== null && chain.length < 8) {
    chain.push(at);
    const { cause, errors } = at as { cause?: unknown; errors?: readonly unknown[] };
    at = cause ?? errors?.[0];
  }
  for (const { code } of chain.reverse()) {
    const meaning = typeof code === "string" && CAUSES.find(([pattern]) => pattern.test(code))?.[1];
    if (meaning) return `${meaning} (${String(code)})`;
  }
  const messages = chain.reverse().map(({ message }) => printable(message ?? ""));
  // Browsers do not reveal the cause.
  return messages.length === 1 && error instanceof TypeError
    ? `${messages[0]}; the browser does not say why: is there a network, and does that server let other pages read its files (CORS)?`
    : messages.filter(Boolean).join(": ");
}

/** Text of a server for a message: without control characters, and at most a line long. */
function printable(text: string): string {
  const escaped = JSON.stringify(text.slice(0, 200)).slice(1, -1);
  return text.length > 200 ? `${escaped}...` : escaped;
}
