import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { assert } from "chai";
import { ArgumentError } from "../../hrm/cli/arguments.js";
import { progressText } from "../../hrm/cli/follow.js";
import { readRunConfig, RUN_CONFIG_FILE } from "../../hrm/cli/run_config.js";
import { createRunFolder, OutputError, writeFileSafely } from "../../hrm/cli/run_folder.js";
import { METRICS_FILE, openRunLog, type MetricsLine } from "../../hrm/cli/run_log.js";
import { findPreset } from "../../hrm/presets.js";
import { rejection } from "../support/rejection.js";

describe("run folders", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-run-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("gives each of many that ask at once a folder of its own", async () => {
    const parent = join(folder, "a", "b");
    const made = await Promise.all(Array.from({ length: 8 }, () => createRunFolder(parent, "run")));
    const names = made.map((m) => basename(m.folder)).sort();
    assert.deepEqual(names, ["run", "run-2", "run-3", "run-4", "run-5", "run-6", "run-7", "run-8"]);
    assert.equal(made.filter((m) => !m.taken).length, 1);
  });

  it("reads the configuration of a run from before there were micro-batches, budgets, measured kernels and precisions", async () => {
    const { model, train } = findPreset("sudoku4")!;
    const old = {
      ...{ preset: "sudoku4", seed: 3, adapter: "a", stopAt: 0.9, evalEvery: 5, evalLimit: 8 },
      ...{ patience: null, keep: 3, data: null, test: null, model, train },
    };
    await writeFile(join(folder, RUN_CONFIG_FILE), JSON.stringify(old));
    const absent = { microBatch: null, memoryBudget: null, autotune: false, precision: "f32" } as const;
    assert.deepEqual(await readRunConfig(folder), { ...old, ...absent });
    await writeFile(join(folder, RUN_CONFIG_FILE), JSON.stringify({ ...old, microBatch: "all" }));
    const error = await rejection(readRunConfig(folder));
    assert.instanceOf(error, ArgumentError);
    assert.include(error.message, 'microBatch: got "all"; expected a number of rows or null');
  });

  it("names --out where no folder can be made", async () => {
    const file = join(folder, "file");
    await writeFile(file, "");
    for (const parent of [file, join(file, "below")]) {
      const error = await rejection(createRunFolder(parent, "run"));
      assert.instanceOf(error, ArgumentError);
      assert.include(error.message, `--out: cannot make a folder in "${parent}"`);
    }
  });

  it("names the file that cannot be written, and leaves nothing behind", async () => {
    const error = await rejection(writeFileSafely(folder, "text"));
    assert.instanceOf(error, OutputError);
    assert.include(error.message, `Cannot write "${folder}"`);
  });

  it("drops lines past the step that a run goes on from, and a torn last line", async () => {
    const path = join(folder, METRICS_FILE);
    const line = (step: number): MetricsLine => ({
      ...{ kind: "train", step, seconds: 1, loss: 1, lmLoss: 1, qHaltLoss: 0, qContinueLoss: 0 },
      ...{ actSteps: null, learningRate: 1e-3, gradientNorm: 1.5, gradientNormMax: 2 },
    });
    const before = [10, 20, 30].map((step) => `${JSON.stringify(line(step))}\n`);
    await writeFile(path, `${before.join("")}{"kind":"tr`);
    const log = await openRunLog(folder, 20);
    await log.write(line(25));
    const after = await readFile(path, "utf8");
    assert.equal(after, [...before.slice(0, 2), `${JSON.stringify(line(25))}\n`].join(""));
  });
});

describe("the progress line", () => {
  const state = {
    ...{ step: 1250, totalSteps: 2500, loss: 0.4123, cells: 0.9712, exact: 0.8, actSteps: 1.504 },
    stepsPerSecond: 31.26,
  };

  it("tells step, loss, both accuracies, ACT steps, speed and time left", () => {
    assert.equal(
      progressText(state),
      "step 1250/2500  loss 0.412  validation cells 97.1% exact 80.0%  ACT steps 1.50  31 steps/s  at most 40 s left",
    );
  });

  it("tells all of it on a terminal of 80 columns, too", () => {
    const text = progressText({ ...state, stepsPerSecond: 9.5 }, 79);
    assert.equal(text, "1250/2500 loss 0.412 cells 97.1% exact 80.0% ACT 1.50 9.5/s 2 min 12 s left");
  });

  it("shows a dash for what is not known yet", () => {
    const text = progressText({ ...state, cells: NaN, exact: NaN, actSteps: NaN });
    assert.include(text, "validation cells - exact -  ACT steps -");
  });
});
