/** Files on the playground: checkpoints of the command line and of PyTorch, puzzles of the visitor, and mazes drawn by hand. */
import { expect } from "chai";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ElementHandle, Page } from "puppeteer";
import { SHIPPED } from "../../docs/playground/models/shipped.js";
import { hostTensor } from "../../engine/index.js";
import { decodeCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { writeTorch, type SafetensorsTensor } from "../../hrm/files/index.js";
import { writePuzzleCsv } from "../../hrm/files/puzzles/index.js";
import { modelConfig } from "../../hrm/model/config.js";
import { initialState, type StateDict } from "../../hrm/model/parameters.js";
import { generateMazes } from "../../hrm/puzzles/tasks/maze_generator.js";
import { mazeTask, WALL } from "../../hrm/puzzles/tasks/maze.js";
import { findPreset } from "../../hrm/training/presets.js";
import { run as hrm } from "../support/command_line.js";
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
  untilThought,
  type Playground,
} from "../support/playground.js";

/** A state dict as `torch.save` of the official, compiled model writes it. */
const officialFile = (state: StateDict): Uint8Array =>
  writeTorch(
    new Map(
      [...state].map(([name, { shape, data }]): [string, SafetensorsTensor] => [
        `_orig_mod.model.${name}`,
        { dtype: "F32", shape, data } as SafetensorsTensor,
      ]),
    ),
  );

/** Drops a file on the page, as a person drags it there. */
const drop = (page: Page, name: string, bytes: Uint8Array): Promise<void> =>
  page.evaluate(
    (called, base64) => {
      const content = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([content], called));
      const event = (type: string): DragEvent =>
        new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
      const board = document.querySelector("#board")!;
      // A page that does not take the drag gets no drop.
      if (!board.dispatchEvent(event("dragover"))) board.dispatchEvent(event("drop"));
    },
    name,
    Buffer.from(bytes).toString("base64"),
  );

const choose = async (page: Page, input: string, path: string): Promise<void> =>
  ((await page.waitForSelector(input)) as ElementHandle<HTMLInputElement>).uploadFile(path);

const untilText = (page: Page, selector: string, part: string): Promise<unknown> =>
  page.waitForFunction(
    (s, p) => document.querySelector(s)?.textContent?.includes(p) === true,
    {},
    selector,
    part,
  );

describe("files on the playground @slow", function () {
  this.timeout(600_000);
  let playground: Playground;
  let folder: string;
  /** The page that all of these tests use, one after the other. */
  let page: Page;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-page-files-"));
    playground = await openPlayground();
    page = await playground.open(TINY);
  });
  after(async () => {
    await playground?.close();
    await rm(folder, { recursive: true, force: true });
  });
  afterEach(() => {
    expect(playground.complaints.splice(0)).to.deep.equal([]);
  });

  it("opens a checkpoint of the command line, and goes on training from it; and the other way round", async () => {
    const options = [...new URLSearchParams(TINY.slice(1))].flatMap(([name, value]) => [`--${name}`, value]);
    const made = await hrm(
      folder,
      ...["train", ...options, "--seed", "5", "--steps", "4000", "--stop-after", "4"],
    );
    expect(made.code, made.stderr).to.equal(0);
    await choose(page, "#file", join(folder, "runs/sudoku4-seed5/checkpoints/step-00000004.safetensors"));
    await page.waitForSelector("#go-on");
    expect(await text(page, "#go-on")).to.equal("Go on training it from step 4");
    await untilThought(page);
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    await page.click("#go-on");
    await page.waitForFunction(() => document.documentElement.dataset["step"] === "4");
    await startTraining(page);
    await pauseAt(page, 8);
    // The address now has the run of the file.
    expect(await page.evaluate(() => location.hash))
      .to.contain("seed=5")
      .and.contain("steps=4000");
    expect(await text(page, "#notice")).to.contain("The run goes on at step 4");
    const { bytes, path } = await downloadFrom(page, "#save", folder);
    const { seed, step, run } = decodeCheckpoint(bytes);
    expect([seed, step, run!.train.total_steps]).to.deep.equal([5, await stepOf(page), 4000]);

    // The command line goes on from the page's checkpoint in the same way, in a folder of its own.
    const back = await hrm(folder, "train", "--resume", path, "--stop-after", `${step + 1}`);
    expect(back.code, back.stderr).to.equal(0);
    expect(back.stderr)
      .to.contain(`goes on after step ${step} of the checkpoint`)
      .and.contain("runs/sudoku4-seed5-2");
  });

  it("opens an official PyTorch file that is dropped on it, and asks what it is for where the file does not say", async () => {
    const { raw, config } = decodeCheckpoint(await readFile(`docs/playground/${SHIPPED.file}`));
    await drop(page, "step_1500", officialFile(raw));
    await untilText(page, "#notice", "step_1500 is open.");
    // Its cycles are in no shape: the page says what it took for them.
    expect(await text(page, "#notice"))
      .to.contain("H_cycles")
      .and.contain("official values");
    expect(await text(page, "#origin")).to.contain("weights alone");
    expect(await page.$("#go-on")).to.equal(null);
    expect(config.pos_encodings).to.equal("learned");

    const maze = findPreset("maze7")!.model;
    const rotary = modelConfig({ ...maze, hidden_size: 16, num_heads: 4 });
    await drop(page, "step_9", officialFile(initialState(rotary, 1)));
    await page.waitForSelector("#which-puzzles");
    const offered = await page.$$eval("#which option", (all) => all.map((o) => o.value));
    expect(offered).to.include.members(["sudoku4", "maze7", "maze10"]).and.not.include("sudoku6");
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    await page.select("#which", "maze7");
    await page.click("#open-as");
    await page.waitForFunction(() => document.querySelectorAll("#board [data-token]").length === 49);
    expect(await page.$("#which-puzzles")).to.equal(null);

    await drop(page, "letter.txt", new TextEncoder().encode("Dear page, this is no checkpoint."));
    await untilText(page, "#notice", "letter.txt");
    expect(await text(page, "#notice")).to.contain("This file cannot be opened");
    // The model before stays.
    expect(await cellsOf(page)).to.have.length(49);
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    const broken = new Map(raw);
    broken.set("inner.q_head.bias", hostTensor(Float32Array.of(1, 2, 3), [3]));
    await drop(page, "broken.pt", officialFile(broken));
    await untilText(page, "#notice", "inner.q_head.bias");
  });

  it("trains on puzzles of the visitor's file, and takes a maze that the visitor draws", async () => {
    // As many cells and symbols as a small Sudoku has, so that its kernels are compiled already.
    const task = mazeTask(4);
    const mazes = generateMazes({ side: 4, count: 24, seed: 3, minLength: 3 });
    await writeFile(join(folder, "mine.csv"), writePuzzleCsv(mazes, task));
    await writeFile(join(folder, "bad.csv"), "question,answer\n12,34\n123,4\n");
    await page.click("#options");
    await page.select("#preset", "file");
    await choose(page, "#puzzle-file", join(folder, "bad.csv"));
    await page.waitForSelector("#puzzle-file-help.bad");
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    await choose(page, "#puzzle-file", join(folder, "mine.csv"));
    await untilText(page, "#puzzle-file-help", "24 puzzles of maze-4x4");
    // The recipe is that of small mazes; its model is too large for a test, which takes another recipe by its address.
    expect(await page.$eval("#recipe", (select) => (select as HTMLSelectElement).value)).to.equal("maze7");
    await page.click("#close-options");
    const data = await page.evaluate(
      (tiny) => (location.hash = `${tiny}&steps=5&target=1`),
      `${TINY}&data=${encodeURIComponent(await idOf(page))}`,
    );
    expect(data).to.contain("mine.csv");
    await page.waitForSelector("#apply");
    await page.click("#apply");
    await untilPhase(page, "preparing");
    await startTraining(page);
    expect(await text(page, "section.start")).to.contain("mine.csv");
    await untilPhase(page, "finished");
    expect(await text(page, "#test")).to.contain("of 2 puzzles");
    expect(await accessibilityProblems(page)).to.deep.equal([]);

    // The board shows a maze of the file; the visitor draws another one with the mouse.
    await page.waitForFunction(() => document.querySelector("#board .cell.wall") !== null);
    await untilThought(page);
    await page.click("#edit");
    await page.click("#clear");
    expect(await text(page, "#judgement")).to.equal(
      "The shortest path has 6 moves; there are 20 of that length.",
    );
    const middle = async (cell: number): Promise<[number, number]> => {
      const box = (await (await page.$(`[data-cell="${cell}"]`))!.boundingBox())!;
      return [box.x + box.width / 2, box.y + box.height / 2];
    };
    // A wall across the maze, but for its last cell, in one stroke; then the last cell too.
    await page.mouse.move(...(await middle(8)));
    await page.mouse.down();
    for (const cell of [9, 10]) await page.mouse.move(...(await middle(cell)), { steps: 3 });
    await page.mouse.up();
    expect((await cellsOf(page)).flatMap(({ token }, cell) => (token === WALL ? [cell] : []))).to.deep.equal([
      8, 9, 10,
    ]);
    expect(await text(page, "#judgement")).to.equal(
      "The shortest path has 6 moves; there are 4 of that length.",
    );
    await page.click('[data-cell="11"]');
    expect(await text(page, "#judgement")).to.equal("No way leads from the start to the goal.");
    expect(await accessibilityProblems(page)).to.deep.equal([]);
    await page.click("#undo");
    await page.click('[data-tool="4"]');
    expect(await text(page, "#judgement")).to.contain("The shortest path has 6 moves");
    // The model is asked about the drawn maze.
    await untilThought(page);
    await page.waitForFunction(() => document.querySelector("#verdict") !== null);
  });
});

/** What the address calls the file that the options have. */
const idOf = (page: Page): Promise<string> =>
  page.evaluate(async () => {
    const input = document.querySelector<HTMLInputElement>("#puzzle-file")!;
    const file = input.files![0]!;
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    const hex = [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
    return `${file.name}~${hex.slice(0, 8)}`;
  });
