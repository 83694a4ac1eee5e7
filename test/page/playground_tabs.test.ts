/** Tabs that share the runs of a browser, a device that goes away while it trains, and what training costs the page. */
import { expect } from "chai";
import type { Page } from "puppeteer";
import { CATEGORIES, frameWork, readTrace } from "../support/frames.js";
import {
  accessibilityProblems,
  openPlayground,
  pauseAt,
  startTraining,
  stepOf,
  text,
  TINY,
  untilPhase,
  untilStep,
  type Playground,
} from "../support/playground.js";

/** The device of the page's worker goes away once the next step is submitted, as `device.destroy()` does it. */
async function destroyDevice(page: Page): Promise<void> {
  const worker = page.workers()[0]!;
  await worker.evaluate(() => {
    const devices = GPUDevice.prototype;
    const original = Object.getOwnPropertyDescriptor(devices, "createCommandEncoder")!;
    Object.defineProperty(devices, "createCommandEncoder", {
      configurable: true,
      value(this: GPUDevice) {
        Object.defineProperty(devices, "createCommandEncoder", original);
        this.destroy();
        return this.createCommandEncoder();
      },
    });
  });
}

/** Bytes of JavaScript that the page and its worker still use after what is garbage was collected. */
async function heapOf(page: Page): Promise<number> {
  let total = 0;
  for (const session of [await page.createCDPSession(), page.workers()[0]!.client]) {
    await session.send("HeapProfiler.collectGarbage");
    total += (await session.send("Runtime.getHeapUsage")).usedSize;
  }
  return total;
}

describe("tabs of the playground @slow", function () {
  this.timeout(600_000);
  let playground: Playground;
  before(async () => {
    playground = await openPlayground();
  });
  after(() => playground?.close());
  afterEach(() => {
    expect(playground.complaints.splice(0)).to.deep.equal([]);
  });

  it("share one store of runs: a run that goes on in one tab is left alone by the other", async () => {
    const first = await playground.open(`${TINY}&seed=1&steps=4000&target=1`);
    await startTraining(first);
    await untilStep(first, 10);
    expect(await accessibilityProblems(first), "while it trains").to.deep.equal([]);
    await first.click("#toggle");
    await untilPhase(first, "paused");
    const name = await first.$eval("#runs li", (row) => row.dataset["run"]!);

    const second = await playground.open(`${TINY}&seed=2&steps=4000&target=1`);
    await second.waitForSelector(`#runs [data-run="${name}"]`);
    expect(await text(second, `#runs [data-run="${name}"]`)).to.contain("under way in another tab");
    expect(await second.$(`#runs [data-run="${name}"] button`)).to.equal(null);
    expect(await second.$("#resume")).to.equal(null);

    // What the first tab keeps is news for the second.
    await first.bringToFront();
    await first.click("#toggle");
    const kept = await pauseAt(first, (await stepOf(first)) + 5);
    await second.bringToFront();
    await second.waitForFunction(
      (run, step) =>
        document.querySelector(`#runs [data-run="${run}"]`)!.textContent.includes(`step ${step},`),
      {},
      name,
      String(kept),
    );

    // Once the first tab is closed, the second may go on with its run.
    await first.close();
    await second.waitForSelector("#resume");
    expect(await text(second, "#resume")).to.equal(`Resume step ${kept}`);
    await second.click("#resume");
    await second.waitForFunction(
      (step) => document.documentElement.dataset["step"] === String(step),
      {},
      kept,
    );
    await untilPhase(second, "ready");
    expect(await text(second, "#notice")).to.contain("to the bit as if it had not stopped");

    const before = await heapOf(second);
    await second.tracing.start({ categories: CATEGORIES });
    await second.click("#toggle");
    await untilStep(second, kept + 60);
    const trace = await second.tracing.stop();
    await second.click("#toggle");
    await untilPhase(second, "paused");
    const work = frameWork(readTrace(trace!));
    const heap = await heapOf(second);
    expect(work.length, "frames that the trace has").to.be.above(5);
    const p95 = [...work].sort((a, b) => a - b)[Math.floor(0.95 * work.length)]!;
    console.log(
      `main thread while training: ${p95.toFixed(1)} ms of work in a frame at p95, over ${work.length} frames`,
    );
    console.log(
      `memory of page and worker: ${(before / 1e6).toFixed(1)} MB before, ${(heap / 1e6).toFixed(1)} MB after ${
        (await stepOf(second)) - kept
      } steps`,
    );

    // The device goes away in the middle of training: the run is kept, and goes on from there.
    const paused = await stepOf(second);
    await destroyDevice(second);
    await second.click("#toggle");
    await untilPhase(second, "failed");
    expect(await text(second, "#alert h2")).to.equal("The GPU went away");
    expect(await second.$("#loss-chart")).to.not.equal(null);
    expect(await accessibilityProblems(second)).to.deep.equal([]);
    expect(await text(second, "#resume-failed")).to.equal(`Resume step ${paused}`);
    await second.click("#resume-failed");
    await second.waitForFunction(
      (step) => document.documentElement.dataset["step"] === String(step),
      {},
      paused,
    );
    await startTraining(second);
    await untilStep(second, paused + 5);

    // A configuration that cannot be is a failure, too; the address brings it while another run goes on.
    await second.evaluate(
      (tiny) => (location.hash = `${tiny}&num_heads=3`),
      TINY.replace("&num_heads=2", ""),
    );
    await second.waitForSelector("#apply");
    await second.click("#apply");
    await untilPhase(second, "failed");
    expect(await text(second, "#alert h2")).to.equal("There can be no such model");
    expect(await accessibilityProblems(second)).to.deep.equal([]);
    await second.close();
  });
});
