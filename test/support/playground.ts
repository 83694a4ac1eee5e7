/** The playground in a browser, as its tests open it: the server of `npm start`, pages that note every complaint, axe. */
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Browser, Page } from "puppeteer";
import { launchBrowser } from "../../bench/browser/launch.js";

/** Milliseconds that a page may take for anything: machines without a GPU compile on the CPU. */
const PATIENCE = 400_000;

/** The place of a run whose model compiles and trains as quickly as a model can. */
export const TINY =
  "#preset=sudoku4&H_cycles=1&L_cycles=1&halt_max_steps=2&hidden_size=16&num_heads=2&swiglu_multiple=16&batch=16";

/** A running server and browser. */
export interface Playground {
  readonly address: string;
  readonly browser: Browser;
  /** What pages complained about since the last look: errors, and requests to other addresses. */
  readonly complaints: string[];
  open(hash?: string): Promise<Page>;
  close(): Promise<void>;
}

/** The address of the server, once it is known: the test files of a process share it, as it builds the whole site. */
let serving: Promise<string> | undefined;

/** Starts the server as a user does, and reads its address from what it prints. It ends with this process. */
export function playgroundAddress(): Promise<string> {
  return (serving ??= startServer());
}

async function startServer(): Promise<string> {
  const server = spawn(process.execPath, ["docs/playground/serve.mjs", "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.once("exit", () => server.kill());
  let printed = "";
  for await (const chunk of server.stdout) {
    printed += String(chunk);
    const address = /http:\/\/127\.0\.0\.1:\d+\//.exec(printed)?.[0];
    if (address) return address;
  }
  throw new Error(`The server ended without an address; it printed ${JSON.stringify(printed)}.`);
}

export async function openPlayground(): Promise<Playground> {
  const address = await playgroundAddress();
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
    close: () => browser.close(),
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

/** Starts training, also before everything is compiled: the wish is kept. */
export async function startTraining(page: Page): Promise<void> {
  await page.waitForSelector("#toggle:not([aria-disabled=true])");
  await page.click("#toggle");
}

/** Pauses as soon as the run has done so many steps, and says how many it then has. */
export async function pauseAt(page: Page, step: number): Promise<number> {
  await page.waitForFunction(
    (wanted) => {
      if (Number(document.documentElement.dataset["step"]) < wanted) return false;
      document.querySelector<HTMLButtonElement>("#toggle")!.click();
      return true;
    },
    {},
    step,
  );
  await untilPhase(page, "paused");
  return stepOf(page);
}

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

/** Clicks and waits for the file that it downloads, into a folder of its own below `folder`. */
export async function downloadFrom(
  page: Page,
  selector: string,
  folder: string,
): Promise<{ name: string; path: string; bytes: Buffer }> {
  const own = await mkdtemp(join(folder, "download-"));
  const session = await page.createCDPSession();
  await session.send("Browser.setDownloadBehavior", {
    behavior: "allow",
    downloadPath: own,
    eventsEnabled: true,
  });
  const finished = new Promise<void>((resolve) =>
    session.on("Browser.downloadProgress", ({ state }) => state === "completed" && resolve()),
  );
  await page.click(selector);
  await finished;
  const [name] = await readdir(own);
  const path = join(own, name!);
  return { name: name!, path, bytes: await readFile(path) };
}

const axe = readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe-core finds on a page as it is, one line for each rule. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(await axe);
  return page.evaluate(async () => {
    interface Found {
      readonly violations: { id: string; help: string; nodes: { html: string; failureSummary?: string }[] }[];
    }
    const { axe } = globalThis as unknown as { axe: { run(options: object): Promise<Found> } };
    const { violations } = await axe.run({ resultTypes: ["violations"] });
    return violations.map(
      ({ id, help, nodes }) =>
        `${id}: ${help}: ${nodes.map((n) => `${n.html} ${n.failureSummary ?? ""}`).join(" | ")}`,
    );
  });
}
