/** What a browser lacks that does not start, or that crashed: found in its output and on this machine. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { promisify } from "node:util";

/** A browser that is missing, does not start, or crashed. */
export class BrowserError extends Error {
  override readonly name = "BrowserError";
}

/** What is known about a browser that failed. */
export interface Failure {
  readonly executablePath: string;
  /** How it was started. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What was being done: "does not start". */
  readonly what: string;
  /** The error that was met, and what the browser wrote to its standard error. */
  readonly message: string;
  readonly output: string;
}

/** Bytes of a folder's disk below which Chromium fails in odd places. */
const LITTLE_SPACE = 100e6;

/** Shared libraries that a program asks for and this machine does not have. */
async function missingLibraries({ executablePath, env, message, output }: Failure): Promise<string[]> {
  const listed = await promisify(execFile)("ldd", [executablePath], { env }).catch(() => ({ stdout: "" }));
  const found = [
    ...listed.stdout.matchAll(/^\s*(\S+) => not found/gm),
    ...`${message}\n${output}`.matchAll(/error while loading shared libraries: ([^\s:]+)/g),
  ];
  return [...new Set(found.map(([, name]) => name!))];
}

/** Causes that can be named, each with what to do. */
async function causes(failure: Failure): Promise<string[]> {
  const { executablePath, env, message, output } = failure;
  const text = `${message}\n${output}`;
  const found: string[] = [];
  if (!existsSync(executablePath))
    return ["there is no such file: set PUPPETEER_EXECUTABLE_PATH to a Chromium, or unset it"];
  if (/\bEACCES\b/.test(text))
    found.push(
      "the file may not be executed: its mode forbids it, or its disk is mounted noexec (then set XDG_CACHE_HOME to a folder on another disk)",
    );
  const libraries = await missingLibraries(failure);
  if (libraries.length > 0)
    found.push(
      `shared libraries are missing: ${libraries.join(", ")}; install the packages that have them, or unset PUPPETEER_EXECUTABLE_PATH and let the tests use the Chromium of @sparticuz/chromium, which brings its own`,
    );
  const fontsFile = env["FONTCONFIG_FILE"] || "/etc/fonts/fonts.conf";
  if (!existsSync(fontsFile))
    found.push(`fontconfig finds no file ${fontsFile}: install fontconfig and a font`);
  else if (/Fontconfig error/i.test(text)) found.push(`fontconfig cannot use ${fontsFile}`);
  const temporary = env["TMPDIR"] || tmpdir();
  const space = await statfs(temporary).catch(() => null);
  if (!space) found.push(`there is no temporary folder ${temporary}`);
  else if (space.bavail * space.bsize < LITTLE_SPACE)
    found.push(`${temporary}, which stands for shared memory here, has less than 100 MB left`);
  if (/\bSIGKILL\b|out of memory/i.test(text)) found.push("it was killed, perhaps for want of memory");
  return found;
}

/** Lines of the browser's output that a message repeats. */
const LAST_WORDS = 10;

/** The error for a browser that failed: what is missing as far as that can be told, and its last words. */
export async function browserError(failure: Failure, cause?: unknown): Promise<BrowserError> {
  const found = await causes(failure);
  const lines = failure.output.split("\n").filter((line) => line.trim() !== "");
  return new BrowserError(
    [
      `The browser ${failure.executablePath} ${failure.what}: ${found.join("; ") || failure.message.split("\n")[0]}.`,
      ...lines.slice(-LAST_WORDS).map((line) => `  it wrote: ${line.slice(0, 200)}`),
    ].join("\n"),
    { cause },
  );
}
