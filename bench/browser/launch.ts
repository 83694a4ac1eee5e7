/** Headless Chromium with WebGPU: the user's, an installed one, puppeteer's, or the one that npm brings. */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Browser } from "puppeteer";
import { findPackage, unpackOnce } from "../../engine/node/unpack.js";
import { BrowserError, browserError, type Failure } from "./failure.js";

const INSTALLED = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
];

type Environment = Readonly<Record<string, string | undefined>>;

async function findBrowser(
  puppeteer: { executablePath(): string },
  given: Environment,
): Promise<{ executablePath: string; env: Environment }> {
  const named = given["PUPPETEER_EXECUTABLE_PATH"];
  if (named) return { executablePath: named, env: {} };
  const installed = INSTALLED.find((path) => existsSync(path));
  if (installed) return { executablePath: installed, env: {} };
  try {
    const path = puppeteer.executablePath();
    if (existsSync(path)) return { executablePath: path, env: {} };
  } catch {
    // no browser in puppeteer's cache
  }
  const source = await findPackage("@sparticuz/chromium");
  if (!source)
    throw new BrowserError(
      "No Chromium: set PUPPETEER_EXECUTABLE_PATH, install one, or npm install @sparticuz/chromium.",
    );
  const folder = await unpackOnce("chromium", source, [
    "bin/chromium.br",
    "bin/swiftshader.tar.br",
    "bin/al2023.tar.br",
    "bin/fonts.tar.br",
  ]);
  return {
    executablePath: join(folder, "chromium"),
    env: {
      ...(await ownFonts(folder)),
      LD_LIBRARY_PATH: [join(folder, "lib"), folder, given["LD_LIBRARY_PATH"]].filter(Boolean).join(":"),
    },
  };
}

/**
 * Fonts of the package instead of the system's: Chromium ends at the first text without a font, and what every machine
 * tests is then the same.
 */
async function ownFonts(folder: string): Promise<Environment> {
  // Beside the unpacked files, whose checksums say that nothing else is among them.
  const place = `${folder}-fonts`;
  const file = join(place, "fonts.conf");
  const escaped = (path: string): string => path.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const text = `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>${escaped(join(folder, "fonts"))}</dir>
  <cachedir>${escaped(join(place, "cache"))}</cachedir>
</fontconfig>
`;
  if ((await readFile(file, "utf8").catch(() => "")) !== text) {
    await mkdir(place, { recursive: true });
    // In one step, as other processes start browsers meanwhile.
    const partial = `${file}.${process.pid}-${Date.now()}`;
    await writeFile(partial, text);
    await rename(partial, file);
  }
  return { FONTCONFIG_FILE: file, FONTCONFIG_PATH: dirname(file) };
}

export interface LaunchOptions {
  /** Further flags of Chromium. */
  readonly flags?: readonly string[];
  /** The environment to start from, for tests; default: that of this process. */
  readonly env?: Environment;
}

/**
 * Launches it with flags that give WebGPU on SwiftShader where there is no GPU, and shows it a text.
 * @throws BrowserError if there is no browser, or it does not start or crashes: what is missing
 */
export async function launchBrowser({
  flags = [],
  env: given = process.env,
}: LaunchOptions = {}): Promise<Browser> {
  // Loaded here, so that a program which may open a browser starts fast where it does not.
  const { default: puppeteer } = await import("puppeteer");
  const { executablePath, env: added } = await findBrowser(puppeteer, given);
  const env = { ...given, ...added };
  let output = "";
  const failed = (what: string, error: unknown): Promise<BrowserError> => {
    const message = error instanceof Error ? error.message : String(error);
    return browserError({ executablePath, env, what, message, output } satisfies Failure, error);
  };
  let browser: Browser;
  try {
    browser = await puppeteer.launch({
      executablePath,
      headless: "shell",
      env,
      protocolTimeout: 900_000,
      args: [
        "--no-sandbox",
        "--no-zygote",
        // Containers have 64 MB of shared memory; a temporary folder has more.
        "--disable-dev-shm-usage",
        "--enable-unsafe-webgpu",
        "--enable-features=Vulkan",
        "--use-webgpu-adapter=swiftshader",
        "--ignore-gpu-blocklist",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        ...flags,
      ],
    });
  } catch (error) {
    // Puppeteer quotes what the process wrote.
    output = /\nstderr:\n([^]*?)\nTROUBLESHOOTING/.exec(String(error))?.[1] ?? "";
    throw await failed("does not start", error);
  }
  browser.process()?.stderr?.on("data", (chunk) => (output = (output + String(chunk)).slice(-10_000)));
  try {
    await showText(browser);
  } catch (error) {
    await browser.close().catch(() => undefined);
    throw await failed("crashed at the first text", error);
  }
  sayWhyItEnds(browser, (how) => failed("crashed", how));
  return browser;
}

/** Lays out a text on a page of its own: what a browser without fonts does not survive. */
async function showText(browser: Browser): Promise<void> {
  const page = await browser.newPage();
  await page.setContent("<p><span>text</span></p>");
  const width = await page.$eval("span", (span) => span.getBoundingClientRect().width);
  if (!(width > 0)) throw new Error("a text has no width: there is no font");
  await page.close();
}

/** Prints why the browser went away without having been closed; whoever waits for it knows only that it did. */
function sayWhyItEnds(browser: Browser, explain: (how: string) => Promise<BrowserError>): void {
  const close = browser.close.bind(browser);
  let closing = false;
  browser.close = () => {
    closing = true;
    return close();
  };
  browser.process()?.once("exit", (code, signal) => {
    if (closing) return;
    void explain(`it ended with ${signal ?? `exit code ${code}`}`).then((error) =>
      process.stderr.write(`${error.message}\n`),
    );
  });
}
