/** The playground in a browser, as its tests open it: the server of `npm start`, pages that note every complaint, axe. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Browser, Page } from "puppeteer";
import { launchBrowser } from "../../bench/browser/launch.js";

/** Milliseconds that a page may take for anything: machines without a GPU compile on the CPU. */
const PATIENCE = 400_000;

/** A running server and browser. */
export interface Playground {
  readonly address: string;
  readonly browser: Browser;
  /** What pages complained about since the last look: errors, and requests to other addresses. */
  readonly complaints: string[];
  open(hash?: string): Promise<Page>;
  close(): Promise<void>;
}

/** Starts the server as a user does, and reads its address from what it prints. */
async function startServer(): Promise<{ server: ChildProcess; address: string }> {
  const server = spawn(process.execPath, ["docs/playground/serve.mjs", "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  for await (const chunk of server.stdout) {
    printed += String(chunk);
    const address = /http:\/\/127\.0\.0\.1:\d+\//.exec(printed)?.[0];
    if (address) return { server, address };
  }
  throw new Error(`The server ended without an address; it printed ${JSON.stringify(printed)}.`);
}

export async function openPlayground(): Promise<Playground> {
  const { server, address } = await startServer();
  const browser = await launchBrowser();
  const complaints: string[] = [];
  return {
    ...{ address, browser, complaints },
    async open(hash = "") {
      const page = await browser.newPage();
      page.setDefaultTimeout(PATIENCE);
      page.on("console", (message) => {
        if (message.type() === "error") complaints.push(`console: ${message.text()}`);
      });
      page.on("pageerror", (error) => complaints.push(`page: ${String(error)}`));
      page.on("request", (request) => {
        const url = request.url();
        if (!url.startsWith(address) && !/^(data|blob):/.test(url)) complaints.push(`request: ${url}`);
      });
      await page.setViewport({ width: 1280, height: 800 });
      await page.goto(`${address}${hash}`);
      return page;
    },
    async close() {
      await browser.close();
      if (server.exitCode === null) {
        server.kill();
        await once(server, "exit");
      }
    },
  };
}

/** Until what an event changed is drawn: two frames later. */
const drawn = (page: Page): Promise<unknown> =>
  page.evaluate(
    () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve(null)))),
  );

export async function text(page: Page, selector: string): Promise<string> {
  await drawn(page);
  return page.$eval(selector, (found) => (found.textContent ?? "").replace(/\s+/g, " ").trim());
}

export const untilPhase = (page: Page, ...phases: string[]): Promise<unknown> =>
  page.waitForFunction((wanted) => wanted.includes(document.documentElement.dataset["phase"]!), {}, phases);

export const untilStep = (page: Page, step: number): Promise<unknown> =>
  page.waitForFunction((wanted) => Number(document.documentElement.dataset["step"]) >= wanted, {}, step);

export const stepOf = (page: Page): Promise<number> =>
  page.evaluate(() => Number(document.documentElement.dataset["step"]));

/** Until a thought is on the board. */
export const untilThought = (page: Page): Promise<unknown> => page.waitForSelector("#scrub:not([disabled])");

/** What a cell of the board shows. */
export interface ShownCell {
  readonly token: number;
  readonly kinds: readonly string[];
  readonly confidence: number;
}

export async function cellsOf(page: Page): Promise<ShownCell[]> {
  await drawn(page);
  return page.$$eval("#board [data-token]", (cells) =>
    cells.map((cell) => ({
      token: Number((cell as HTMLElement).dataset["token"]),
      kinds: [...cell.classList],
      confidence: Number((cell as HTMLElement).style.getPropertyValue("--confidence")),
    })),
  );
}

const axe = readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe-core finds on a page as it is, one line for each rule. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  await page.evaluate(await axe);
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { id: string; help: string; nodes: { html: string }[] }[] }> };
    };
    const { violations } = await axe.run();
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((n) => n.html).join(" | ")}`);
  });
}
