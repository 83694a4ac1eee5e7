/** The playground in real Chromium, as a visitor drives it: `npm start`'s server, clicks, what the page shows. */
import { expect } from "chai";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "puppeteer";
import { decodeCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { countParameters } from "../../hrm/model/parameters.js";
import { launchBrowser } from "../../bench/browser/launch.js";

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

/** A number that the page keeps on its root element. */
const number = (page: Page, name: "step" | "heartbeat"): Promise<number> =>
  page.evaluate((key) => Number(document.documentElement.dataset[key]), name);

const text = (page: Page, selector: string): Promise<string> =>
  page.$eval(selector, (found) => found.textContent ?? "");

const untilPhase = (page: Page, phase: string): Promise<unknown> =>
  page.waitForFunction((wanted) => document.documentElement.dataset["phase"] === wanted, {}, phase);

const untilStep = (page: Page, step: number): Promise<unknown> =>
  page.waitForFunction((wanted) => Number(document.documentElement.dataset["step"]) >= wanted, {}, step);

const beats = (page: Page, count: number): Promise<unknown> =>
  page.evaluate(
    (wanted) =>
      new Promise<void>((resolve) => {
        const beat = (left: number): unknown =>
          left === 0 ? resolve() : requestAnimationFrame(() => beat(left - 1));
        beat(wanted);
      }),
    count,
  );

/** Grids as the page draws them: rows of cells, blanks as dots. */
const grids = (page: Page): Promise<{ label: string; cells: string[]; givens: number }[]> =>
  page.$$eval("#board .grid", (found) =>
    found.map((grid) => ({
      label: grid.getAttribute("aria-label") ?? "",
      cells: [...grid.children].map((cell) => cell.textContent || "."),
      givens: grid.querySelectorAll(".given").length,
    })),
  );

describe("playground", function () {
  this.timeout(120_000);
  let server: ChildProcess | undefined;
  let address: string;
  let browser: Browser | undefined;
  /** The browser's errors since the test began. */
  let complaints: string[];

  /** A page that notes every error and every request that leaves this machine. */
  async function openPage(): Promise<Page> {
    const page = await browser!.newPage();
    page.setDefaultTimeout(90_000);
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => complaints.push(`page: ${String(error)}`));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(address) && !/^(data|blob):/.test(url)) complaints.push(`request: ${url}`);
    });
    return page;
  }

  before(async () => {
    ({ server, address } = await startServer());
    browser = await launchBrowser();
  });
  after(async () => {
    await browser?.close();
    if (server && server.exitCode === null) {
      server.kill();
      await once(server, "exit");
    }
  });
  beforeEach(() => {
    complaints = [];
  });

  it("trains, pauses, goes on, saves and resets", async () => {
    const page = await openPage();
    await page.goto(`${address}#preset=sudoku4&seed=3`);
    await untilPhase(page, "ready");
    const software = /\(software\)$/.test(await text(page, "#adapter"));
    expect(await page.$eval("#notice", (found) => found.checkVisibility())).to.equal(software);
    const before = await grids(page);
    expect(before).to.have.length(5);
    expect(before[0]!.givens).to.equal(before[0]!.cells.filter((cell) => cell !== ".").length);
    expect(before[0]!.givens).to.be.within(6, 10);

    expect(await page.evaluate(() => crossOriginIsolated)).to.be.true;

    const beat = await number(page, "heartbeat");
    await page.click("#toggle");
    await untilStep(page, 10);
    const firstLoss = Number(await text(page, "#stat-loss"));
    await untilStep(page, 60);
    const laterLoss = Number(await text(page, "#stat-loss"));
    expect(firstLoss).to.be.above(0);
    expect(laterLoss).to.be.below(0.8 * firstLoss);
    expect(await number(page, "heartbeat")).to.be.above(beat + 10);

    await page.click("#toggle");
    await untilPhase(page, "paused");
    const paused = await number(page, "step");
    await beats(page, 60);
    expect(await number(page, "step")).to.equal(paused);
    const residuals = await page.$$eval("#board .residuals", (found) =>
      found.map((bars) => ({
        label: bars.getAttribute("aria-label") ?? "",
        levels: [...bars.children].map((bar) => bar.className).join(" "),
      })),
    );
    // Every segment has a bar for each update: two of z_L, then one of z_H, twice.
    expect(residuals.map((r) => r.levels)).to.deep.equal(Array(4).fill("L L H L L H"));
    for (const { label } of residuals)
      expect(label).to.match(/^Forward residuals: (z_L [\d.]+, z_L [\d.]+, z_H [\d.]+(, |$)){2}$/);
    expect((await grids(page)).slice(1).some((grid, i) => grid.cells.join() !== before[i + 1]!.cells.join()))
      .to.be.true;

    const folder = await mkdtemp(join(tmpdir(), "hrm-playground-"));
    try {
      const session = await page.createCDPSession();
      await session.send("Browser.setDownloadBehavior", {
        behavior: "allow",
        downloadPath: folder,
        eventsEnabled: true,
      });
      const finished = new Promise<void>((resolve) =>
        session.on("Browser.downloadProgress", ({ state }) => state === "completed" && resolve()),
      );
      await page.click("#save");
      await finished;
      expect(await readdir(folder)).to.deep.equal([`sudoku4-seed3-step${paused}.safetensors`]);
      const bytes = await readFile(join(folder, `sudoku4-seed3-step${paused}.safetensors`));
      const { task, seed, step, config, raw, ema } = decodeCheckpoint(bytes);
      expect({ task, seed, step }).to.deep.equal({ task: "sudoku4", seed: 3, step: paused });
      expect(countParameters(config)).to.equal(27586);
      const weight = "inner.lm_head.weight";
      expect(raw.get(weight)!.data.every(Number.isFinite)).to.be.true;
      expect([...ema!.get(weight)!.data]).to.not.deep.equal([...raw.get(weight)!.data]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }

    await page.click("#another");
    await page.waitForFunction(
      (label) => document.querySelector("#board .grid")!.getAttribute("aria-label") !== label,
      {},
      before[0]!.label,
    );
    expect(new URL(page.url()).hash).to.equal("#preset=sudoku4&seed=3&puzzle=1");

    await page.click("#toggle");
    await untilStep(page, paused + 5);
    await page.click("#reset");
    await untilPhase(page, "ready");
    expect(await number(page, "step")).to.equal(0);
    expect(await text(page, "#stat-loss")).to.equal("–");
    expect(complaints).to.deep.equal([]);
    await page.close();
  });

  it("ends a plan with one look at the test set", async () => {
    const page = await openPage();
    await page.goto(`${address}#preset=sudoku4&steps=10&target=1`);
    // A start before the kernels are compiled is kept.
    await page.click("#toggle");
    await untilPhase(page, "finished");
    expect(await number(page, "step")).to.equal(10);
    expect(await text(page, "#stat-test")).to.match(/^\d+\.\d% \[\d+\.\d, \d+\.\d\]$/);
    expect(await text(page, "#test-title")).to.contain("1,024");
    expect(await text(page, "#stat-exact")).to.match(/^\d+\.\d%$/);
    expect(complaints).to.deep.equal([]);
    await page.close();
  });

  it("says what to do without WebGPU, and names what the address asks for in vain", async () => {
    const page = await openPage();
    await page.evaluateOnNewDocument(() => Reflect.deleteProperty(Navigator.prototype, "gpu"));
    await page.goto(`${address}#preset=chess&seed=-1`);
    await page.waitForSelector("#alert:not([hidden])");
    expect(await text(page, "#alert h2")).to.match(/^No WebGPU in Chrome \d+ on \w+$/);
    expect(await page.$$eval("#alert li", (items) => items.length)).to.be.at.least(2);
    expect(await page.$eval("#toggle", (found) => found.checkVisibility())).to.be.false;
    expect(await text(page, "#address"))
      .to.contain("preset=chess")
      .and.contain("seed=-1");
    expect(complaints).to.deep.equal([]);
    await page.close();
  });

  // Last: this browser has no GPU process afterwards.
  it("says what products of f16 operands lack here, and trains in f32 once that is chosen", async () => {
    const page = await openPage();
    await page.goto(`${address}#products=mixed`);
    await untilPhase(page, "failed");
    expect(await text(page, "#alert h2")).to.equal("This configuration cannot be");
    expect(await text(page, "#alert p")).to.match(/^Mixed precision: .* lacks /);
    await page.select("#products", "f32");
    await untilPhase(page, "ready");
    expect(await page.$eval("#alert", (found) => found.checkVisibility())).to.equal(false);
    expect(await page.evaluate(() => location.hash)).to.equal("#preset=sudoku4&seed=0");
    expect(complaints).to.deep.equal([]);
    await page.close();
  });

  it("says that the GPU went away, and starts over as far as the browser lets it", async () => {
    const page = await openPage();
    await page.goto(address);
    await untilPhase(page, "ready");
    await page.click("#toggle");
    await untilStep(page, 5);
    const session = await browser!.target().createCDPSession();
    await session.send("Browser.crashGpuProcess");
    await untilPhase(page, "failed");
    expect(await text(page, "#alert h2")).to.equal("The GPU went away");
    expect(await text(page, "#alert p")).to.contain("device was lost");
    await page.click("#alert button");
    await page.waitForFunction(
      () =>
        document.documentElement.dataset["phase"] === "ready" ||
        document.querySelector("#alert h2")!.textContent.includes("keeps the GPU back"),
    );
    expect(complaints).to.deep.equal([]);
    await page.close();
  });
});
