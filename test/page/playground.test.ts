/** The playground in real Chromium, as a visitor uses it: watch, scrub, edit, train, pause, resume, save. */
import { expect } from "chai";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "puppeteer";
import { decodeCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { sudokuSolver } from "../../hrm/puzzles/tasks/sudoku_solver.js";
import { sudokuTask } from "../../hrm/puzzles/tasks/sudoku.js";
import { layoutShift, takePictures } from "../support/page_layout.js";
import {
  accessibilityProblems,
  cellsOf,
  downloadFrom,
  openPlayground,
  pauseAt,
  startTraining,
  stepOf,
  text,
  TINY,
  untilPhase,
  untilStep,
  untilThought,
  type Playground,
} from "../support/playground.js";

const task = sudokuTask(4);

describe("playground @slow", function () {
  this.timeout(600_000);
  let playground: Playground;
  let folder: string;
  /** The page that all tests but one use, one after the other: what it has compiled is not compiled again. */
  let page: Page;
  let isOpen = false;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-playground-"));
    playground = await openPlayground();
  });
  after(async () => {
    await playground?.close();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    playground.complaints.length = 0;
  });
  afterEach(() => {
    expect(playground.complaints).to.deep.equal([]);
  });

  const download = (page: Page, selector: string): ReturnType<typeof downloadFrom> =>
    downloadFrom(page, selector, folder);

  const scrubTo = (page: Page, update: number): Promise<void> =>
    page.$eval(
      "#scrub",
      (input, value) => {
        (input as HTMLInputElement).value = String(value);
        input.dispatchEvent(new Event("input", { bubbles: true }));
      },
      update,
    );

  it("shows a model that was trained earlier think, scrubs its thought, and takes a visitor's puzzle", async () => {
    page = await playground.open();
    isOpen = true;
    await untilThought(page);
    const sinceStart = (): Promise<number> => page.evaluate(() => Math.round(performance.now()));
    console.log(`first thought after ${await sinceStart()} ms`);
    expect(await page.evaluate(() => crossOriginIsolated)).to.be.true;
    // What marks mean is said on the page, and not in titles alone, which touch and keys do not reach.
    expect(await page.$$eval("#legend dt", (marks) => marks.length)).to.be.above(5);
    expect(await page.$$eval("[title]", (titled) => titled.length)).to.equal(0);
    expect(await text(page, "#origin")).to.match(/^It was trained earlier by npm run train -- --preset /);
    // The puzzle is one that takes several rounds.
    expect(await text(page, "#verdict")).to.match(/^Solved after [2-9]\d* rounds: round 1 was not enough\./);

    expect(await layoutShift(page), "layout shift").to.be.below(0.1);

    // Scrubbed by keyboard: home is the puzzle, the end is the answer.
    await page.focus("#scrub");
    await page.keyboard.press("Home");
    const puzzle = await cellsOf(page);
    const inputs = puzzle.map(({ token }) => token);
    expect(puzzle).to.have.length(16);
    for (const { token, kinds } of puzzle) expect(kinds.includes("given")).to.equal(token > 1);
    expect(await page.$$eval("#board .lock", (locks) => locks.length)).to.equal(
      inputs.filter((t) => t > 1).length,
    );
    await page.keyboard.press("End");
    const answer = await cellsOf(page);
    expect(
      task.check(
        inputs,
        answer.map(({ token }) => token),
      ).solved,
    ).to.equal(true);
    const updates = await page.$eval("#scrub", (input) => Number((input as HTMLInputElement).max) + 1);
    expect(updates).to.equal(await page.$$eval(".tick", (ticks) => ticks.length));

    // A ring marks what an update changed, a hatch what breaks a rule, and confidence is a probability.
    let before = inputs;
    let rings = 0;
    for (let update = 0; update < Math.min(6, updates); update++) {
      await scrubTo(page, update);
      await page.waitForFunction(
        (n) => (document.querySelector("#scrub") as HTMLInputElement).value === String(n),
        {},
        update,
      );
      const cells = await cellsOf(page);
      const tokens = cells.map(({ token }) => token);
      const broken = new Set(task.check(inputs, tokens).violations);
      cells.forEach(({ token, kinds, confidence }, cell) => {
        expect(kinds.includes("changed"), `update ${update}, cell ${cell}`).to.equal(token !== before[cell]);
        expect(kinds.includes("broken")).to.equal(broken.has(cell));
        expect(confidence).to.be.within(1 / 6, 1);
        if (token !== before[cell]) rings++;
      });
      before = tokens;
    }
    expect(rings).to.be.above(0);
    expect(await text(page, "#caption")).to.match(
      /^Round \d of \d, turn \d of \d: the .* The model is \d+% sure/,
    );
    expect(await accessibilityProblems(page)).to.deep.equal([]);

    // Where a cell attends: all of it goes somewhere, and the turn's level is named. Keys reach each cell.
    await page.hover('[data-cell="5"]');
    await page.waitForSelector("#attention .head");
    expect(await text(page, "#attention")).to.match(
      /row 2, column 2 reads .* this turn of the (slow planner \(H\)|fast worker \(L\))/,
    );
    const shares = await page.$$eval("#attention .head", (heads) =>
      heads.map((head) =>
        [...head.querySelectorAll<SVGGElement>("[data-weight]")].map((cell) =>
          Number(cell.dataset["weight"]),
        ),
      ),
    );
    expect(shares).to.not.be.empty;
    for (const head of shares) {
      expect(head).to.have.length(16);
      expect(head.reduce((a, b) => a + b, 0)).to.be.closeTo(1, 1e-4);
    }
    await page.focus('#board [tabindex="0"]');
    await page.keyboard.press("ArrowRight");
    expect(await text(page, "#attention")).to.contain("row 2, column 3 reads");
    expect(await accessibilityProblems(page)).to.deep.equal([]);

    // A puzzle of the visitor: made invalid, said so, and back.
    await page.click("#edit");
    expect(await text(page, "#judgement")).to.equal("Exactly one solution.");
    const given = inputs.findIndex((token) => token > 1);
    const row = Math.floor(given / 4);
    const blank = inputs.findIndex((token, cell) => token === 1 && Math.floor(cell / 4) === row);
    const twin = blank >= 0 ? blank : inputs.indexOf(1);
    await page.click(`[data-cell="${twin}"]`);
    await page.keyboard.type(String(inputs[given]! - 1));
    expect(await text(page, "#judgement")).to.match(/breaks a rule: two|no solution/);
    expect((await cellsOf(page))[twin]!.token).to.equal(inputs[given]);
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    await page.keyboard.down("Control");
    await page.keyboard.press("z");
    await page.keyboard.up("Control");
    expect(await text(page, "#judgement")).to.equal("Exactly one solution.");
    await page.click(".editor summary");
    await page.type("#paste", "1...");
    await page.click("#use");
    expect(await text(page, ".editor [role=alert]")).to.contain("expected 16");
    await page.$eval("#paste", (area) => ((area as HTMLTextAreaElement).value = "1234 3412 2143 4321"));
    await page.click("#use");
    expect((await cellsOf(page)).map(({ token }) => token)).to.deep.equal(
      [...task.parse("1234341221434321")].map(Number),
    );
    await page.click("#leave");
    await page.waitForSelector("#another");

    // Another puzzle is made, and so is a harder one: with fewer givens, and still one solution.
    let fewest = Infinity;
    for (const button of ["#another", "#harder"]) {
      const shown = (): Promise<string> => text(page, "#puzzle-number");
      const before = await shown();
      await page.click(button);
      await page.waitForFunction(
        (old) => {
          const now = document.querySelector("#puzzle-number")!.textContent.trim();
          return now.startsWith("This puzzle was made just now") && now !== old;
        },
        {},
        before,
      );
      const givens = Number(/it has (\d+) givens and exactly one solution\.$/.exec(await shown())![1]);
      const made = (await cellsOf(page)).map(({ kinds, token }) => (kinds.includes("given") ? token : 1));
      expect(made.filter((token) => token > 1)).to.have.length(givens);
      const { solutions, complete } = sudokuSolver(4).search(Int32Array.from(made), 2);
      expect([solutions, complete]).to.deep.equal([1, true]);
      expect(givens).to.be.below(fewest);
      fewest = givens;
    }
    await page.click("#next-held");
    await page.waitForFunction(() => /puzzle=\d+/.test(location.hash));

    // The figures, the Lab and the Engine are drawn from this model and from the run, once somebody comes near them.
    await untilPhase(page, "ready");
    console.log(`ready to train after ${await sinceStart()} ms`);
    await page.$eval("#why", (part) => part.scrollIntoView());
    await page.waitForSelector("#state-canvas canvas[data-yaw]");
    const yaw = (): Promise<string> =>
      page.$eval("#state-canvas canvas", (canvas) => (canvas as HTMLElement).dataset["yaw"]!);
    const before3d = await yaw();
    await page.focus("#state-canvas");
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(
      (old) => document.querySelector<HTMLElement>("#state-canvas canvas")!.dataset["yaw"] !== old,
      {},
      before3d,
    );
    expect(await text(page, "#dimensions")).to.match(/the worker \(z_L\)\d+\.\d\d\d+\.\d\d/);
    await page.$eval("#lab", (part) => part.scrollIntoView());
    await page.waitForSelector("#needs");
    expect(await text(page, "#needs")).to.match(/^Numbers to learn27,586Work of a step77 million operations/);
    await page.$eval("#engine", (part) => part.scrollIntoView());
    await page.waitForSelector(".memory-plan rect");
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    await takePictures(page);
  });

  it("trains, pauses and goes on by keyboard, keeps a run whose options change, and saves it", async () => {
    if (isOpen) {
      // Nothing was trained so far, so that another run in the address takes the place of this one.
      await page.evaluate((hash) => (location.hash = hash), `${TINY}&seed=3`);
      await untilPhase(page, "preparing");
    } else page = await playground.open(`${TINY}&seed=3`);
    isOpen = true;
    await untilPhase(page, "ready");
    await page.evaluate(() => scrollTo(0, 0));
    // The focus stays on the button, so that the space bar presses it again and scrolls nothing.
    await page.focus("#toggle");
    await page.keyboard.press("Space");
    await untilStep(page, 10);
    expect(await page.evaluate(() => document.activeElement?.id)).to.equal("toggle");
    // The curve follows the data.
    await page.waitForSelector("#loss-chart canvas");
    await untilStep(page, 30);
    await page.keyboard.press("Space");
    await untilPhase(page, "paused");
    expect(await page.evaluate(() => scrollY)).to.equal(0);
    const paused = await stepOf(page);
    // The middle of the picture is the middle of what was trained, and not of what is planned.
    await page.hover("#loss-chart .u-over");
    const middle = Number(await text(page, "#loss-chart .u-legend .u-series:first-child .u-value"));
    expect(middle).to.be.within(0.25 * paused, 0.8 * paused);
    expect(await text(page, "#toggle")).to.equal("Go on training");
    // A number that changes several times a second is no live region, which would be spoken each time.
    expect(
      await page.$eval("#step", (step) => step.closest("[aria-live], [role=status], [role=alert], output")),
    ).to.equal(null);
    expect(await page.$eval(".which input:last-of-type", () => true)).to.equal(true);

    // Options are a draft: the run stays until they are applied.
    await page.click("#options");
    await page.waitForSelector("#options-sheet[open]");
    await page.$eval("#seed", (input) => ((input as HTMLInputElement).value = ""));
    await page.type("#seed", "-5");
    expect(await text(page, "#seed-help")).to.contain('Got "-5"; expected a whole number from 0');
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    await page.$eval("#seed", (input) => ((input as HTMLInputElement).value = ""));
    await page.type("#seed", "4");
    await page.click("#close-options");
    expect(await text(page, ".apply")).to.contain("The run goes on as it is");
    expect(await stepOf(page)).to.equal(paused);
    expect(await page.evaluate(() => location.hash)).to.contain("seed=3");
    // Another puzzle in the address is shown, and restarts nothing.
    await page.evaluate((hash) => (location.hash = hash), `${TINY}&seed=3&puzzle=5`);
    await page.waitForFunction(
      () => document.querySelector("#puzzle-number")?.textContent === "puzzle 5 of 256",
    );
    expect(await stepOf(page)).to.equal(paused);

    const { name, bytes } = await download(page, "#save");
    expect(name).to.equal(`sudoku4-seed3-step${paused}.safetensors`);
    const { task: preset, seed, step, config, raw, ema } = decodeCheckpoint(bytes);
    expect({ preset, seed, step }).to.deep.equal({ preset: "sudoku4", seed: 3, step: paused });
    expect(config).to.include({ H_cycles: 1, L_cycles: 1, hidden_size: 16, batch_size: 16 });
    expect(raw.get("inner.lm_head.weight")!.shape).to.deep.equal([6, 16]);
    const weight = "inner.lm_head.weight";
    expect(raw.get(weight)!.data.every(Number.isFinite)).to.be.true;
    expect([...ema!.get(weight)!.data]).to.not.deep.equal([...raw.get(weight)!.data]);
    expect(await accessibilityProblems(page)).to.deep.equal([]);

    // The next steps take another learning rate, and the run says so.
    await page.$eval("#now-lr", (input) => {
      (input as HTMLInputElement).value = "0.001";
      input.dispatchEvent(new Event("change", { bubbles: true }));
    });
    await page.waitForFunction(() =>
      /learning rate 0\.001/.test(document.querySelector("#runs")!.textContent),
    );

    await page.click("#apply");
    await untilPhase(page, "preparing");
    await untilPhase(page, "ready");
    // The run before is kept beside the new one, with what its configuration differs in.
    expect(await page.$$eval("#runs li", (rows) => rows.length)).to.equal(2);
    expect(await text(page, "#runs li:last-child")).to.contain("seed 3 instead of 4");
    const csv = await download(page, "#export-csv");
    expect(csv.name).to.equal("hrm-runs.csv");
    expect(String(csv.bytes))
      .to.match(/^run,kind,step,seconds,loss/)
      .and.contain(`,training,${paused},`);
    expect(await stepOf(page)).to.equal(0);
    expect(await page.evaluate(() => location.hash)).to.match(/^#preset=sudoku4&seed=4&.*&puzzle=1$/);
  });

  it("resumes after a reload, to the bit as if nothing had happened", async () => {
    await page.evaluate((hash) => (location.hash = hash), `${TINY}&seed=7&steps=60&target=1`);
    await untilPhase(page, "preparing");
    await startTraining(page);
    const kept = await pauseAt(page, 5);
    expect(kept).to.be.within(5, 55);
    await page.reload();
    await page.waitForSelector("#resume");
    expect(await text(page, "#resume")).to.equal(`Resume step ${kept}`);
    await page.click("#resume");
    await page.waitForFunction((step) => document.documentElement.dataset["step"] === String(step), {}, kept);
    await startTraining(page);
    await untilPhase(page, "finished");
    expect(await text(page, "#notice")).to.contain("to the bit as if it had not stopped");
    expect(await text(page, "#test")).to.match(/^Test: \d+\.\d% \[\d+\.\d, \d+\.\d\] of 1,024 puzzles/);
    // Finished is no dead end.
    expect(await text(page, "#toggle")).to.equal("Train a new one");
    expect(await page.$eval("#toggle", (button) => button.getAttribute("aria-disabled"))).to.equal("false");
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    const resumed = await download(page, "#save");

    // The same run again, from zero and without a stop.
    await page.click("#reset");
    await untilPhase(page, "preparing");
    await startTraining(page);
    await untilPhase(page, "finished");
    const whole = await download(page, "#save");
    expect(resumed.name).to.equal("sudoku4-seed7-step60.safetensors");
    expect(resumed.bytes.equals(whole.bytes)).to.equal(true);
  });

  it("helps where there is no WebGPU", async () => {
    const page = await playground.browser.newPage();
    page.setDefaultTimeout(120_000);
    await page.evaluateOnNewDocument(() =>
      Object.defineProperty(Navigator.prototype, "gpu", { value: undefined }),
    );
    await page.goto(`${playground.address}#preset=chess&seed=-1`);
    await page.waitForSelector("#alert");
    expect(await text(page, "#alert h2")).to.match(/^No WebGPU in Chrome \d+ on Linux$/);
    expect(await page.$("#toggle")).to.equal(null);
    // A recording plays, and says that it is one.
    await page.waitForSelector("#recording #scrub:not([disabled])");
    expect(await text(page, "#recording")).to.contain("Nothing is computed here. This was recorded earlier");
    await page.focus("#scrub");
    await page.keyboard.press("End");
    const answer = (await cellsOf(page)).map(({ token }) => token);
    expect(task.check(answer, answer).solved).to.equal(true);
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    await page.close();
  });

  // Last: this browser has no GPU process afterwards.
  it("says that the GPU went away, keeps what was learned, and starts over as far as the browser lets it", async () => {
    await page.bringToFront();
    await page.evaluate((hash) => (location.hash = hash), `${TINY}&seed=9`);
    await page.waitForSelector("#apply");
    await page.click("#apply");
    await untilPhase(page, "preparing");
    await startTraining(page);
    await untilStep(page, 10);
    const session = await playground.browser.target().createCDPSession();
    await session.send("Browser.crashGpuProcess");
    await untilPhase(page, "failed");
    expect(await text(page, "#alert h2")).to.equal("The GPU went away");
    expect(await text(page, "#alert")).to.contain("device was lost");
    // The curves stay.
    expect(await page.$("#loss-chart")).to.not.equal(null);
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    await page.click("#start-over");
    await untilPhase(page, "ready", "failed");
    expect(await page.$("#start-over, #toggle")).to.not.equal(null);
    await page.close();
  });
});
