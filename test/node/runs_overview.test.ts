import { mkdir, mkdtemp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { hostTensor } from "../../engine/index.js";
import { advice, runsTable } from "../../hrm/cli/commands/runs.js";
import { writeRunConfig } from "../../hrm/cli/runs/config.js";
import type { Machine } from "../../hrm/cli/runs/lock.js";
import { lockRun } from "../../hrm/cli/runs/lock.js";
import { overviewOf } from "../../hrm/cli/runs/overview.js";
import { ArgumentError } from "../../hrm/terminal/arguments.js";
import { writeSafetensors } from "../../hrm/files/tensors/safetensors.js";
import { findPreset } from "../../hrm/training/presets.js";
import { rejection } from "../support/rejection.js";

describe("hrm runs", () => {
  let parent: string;
  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), "hrm-runs-"));
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));

  const look = (kind: "validation" | "test", step: number, exactAccuracy: number, best?: boolean): string =>
    `${JSON.stringify({ kind, step, seconds: 1, count: 100, exactAccuracy, cellAccuracy: 0.9, ...(best !== undefined && { best }) })}\n`;

  /** Makes the folder of a run with checkpoints at these steps. */
  async function made(
    name: string,
    {
      steps = [] as number[],
      ended = null as string | null,
      metrics = "",
      data = null as string | null,
    } = {},
  ): Promise<string> {
    const folder = join(parent, name);
    await mkdir(join(folder, "checkpoints"), { recursive: true });
    const { model, train } = findPreset("sudoku4")!;
    await writeRunConfig(folder, {
      ...{ preset: "sudoku4", seed: 3, adapter: "a", stopAt: 1, evalEvery: 1, evalLimit: 1, patience: null },
      ...{ keep: 3, microBatch: null, memoryBudget: null, autotune: false, precision: "f32" },
      ...{ data, test: null, task: null, columns: null, validation: null, init: null, model, train },
    });
    for (const step of steps) {
      const { shape, data } = hostTensor(new Float32Array(8), [8]);
      const bytes = writeSafetensors([["w", { dtype: "F32", shape, data: data as Float32Array }]], {
        run: JSON.stringify({ ended: step === steps.at(-1) ? ended : null }),
      });
      await writeFile(
        join(folder, "checkpoints", `step-${String(step).padStart(8, "0")}.safetensors`),
        bytes,
      );
    }
    if (metrics) await writeFile(join(folder, "metrics.jsonl"), metrics);
    return folder;
  }

  it("tells the state of each run, its best look, and the command that goes on", async () => {
    await made("run-10", {
      steps: [0, 50, 100],
      metrics: look("validation", 50, 0.4, true) + look("validation", 100, 0.3, false),
    });
    const done = look("validation", 100, 0.7, true) + look("test", 100, 0.65);
    await made("run-2", { steps: [100], ended: "target", metrics: done, data: "my puzzles.csv" });
    await made("run-3", { steps: [100], ended: "last_step", metrics: look("validation", 100, 0.7, true) });
    await made("run-4");
    const { runs, searches, others } = await overviewOf(parent);
    assert.deepEqual(
      runs.map(({ folder, state, step, next }) => [
        folder.slice(parent.length + 1),
        state,
        step,
        next?.slice(0, 2).join(" "),
      ]),
      [
        ["run-2", "finished", 100, "eval --checkpoint"],
        ["run-3", "untested", 100, "train --resume"],
        ["run-4", "stopped", null, "train --resume"],
        ["run-10", "stopped", 100, "train --resume"],
      ],
    );
    assert.deepEqual(runs[3]!.best, { step: 50, count: 100, exactAccuracy: 0.4, cellAccuracy: 0.9 });
    assert.deepEqual(runs[0]!.test, { step: 100, count: 100, exactAccuracy: 0.65, cellAccuracy: 0.9 });
    assert.deepEqual([runs[0]!.preset, runs[0]!.seed, runs[0]!.totalSteps], ["sudoku4", 3, 2000]);
    assert.deepEqual([searches, others], [[], []]);
    const table = runsTable(runs).split("\n");
    assert.match(table[1]!, /^run-2 +finished +100\/2000 +100 +70\.0% \[60\.4, 78\.1\] of 100 +65\.0% \[/);
    assert.match(table[3]!, /^run-4 +stopped +-\/2000 +- +- +-$/);
    assert.include(advice(runs[0]!), `--data 'my puzzles.csv'`);
    assert.include(advice(runs[0]!), "reached its target");
    // The folder of one run lists that run.
    assert.deepEqual((await overviewOf(join(parent, "run-3"))).runs, [runs[1]!]);
  });

  it("says which process trains a run, and takes the lock of an ended process for none", async () => {
    const folder = await made("run", { steps: [5] });
    const machine = (alive: boolean): Machine => ({
      self: () => ({ pid: 7, started: "1", host: "h", boot: "b", space: "s" }),
      startOf: () => (alive ? "1" : null),
    });
    await lockRun(folder, { machine: machine(true) });
    const before = await readdir(folder);
    const [busy] = (await overviewOf(parent, { machine: machine(true) })).runs;
    assert.equal(busy!.state, "training");
    assert.isNull(busy!.next);
    assert.match(advice(busy!), /^process 7 trains it since 20/);
    const [left] = (await overviewOf(parent, { machine: machine(false) })).runs;
    assert.equal(left!.state, "stopped");
    assert.deepEqual(await readdir(folder), before);
  });

  it("passes over a torn checkpoint with a warning, and calls what cannot go on broken", async () => {
    const torn = await made("a", { steps: [5, 9] });
    const newest = join(torn, "checkpoints", "step-00000009.safetensors");
    await truncate(newest, (await stat(newest)).size - 1);
    const alone = await made("b", { steps: [9] });
    await truncate(join(alone, "checkpoints", "step-00000009.safetensors"), 4);
    await made("c", { metrics: look("validation", 50, 0.4, true) });
    const config = await made("d", { steps: [9] });
    await writeFile(join(config, "config.json"), `{"preset": "sudoku4"}`);
    const { runs } = await overviewOf(parent);
    assert.deepEqual(
      runs.map(({ state, step }) => [state, step]),
      [
        ["stopped", 5],
        ["broken", null],
        ["broken", null],
        ["broken", 9],
      ],
    );
    assert.match(runs[0]!.problems.join(), /^step-00000009\.safetensors is not used: it has \d+ bytes/);
    assert.match(runs[1]!.problems.join(), /got 4 bytes/);
    assert.match(runs[2]!.problems.join(), /there is no checkpoint/);
    assert.match(runs[3]!.problems.join(), /config\.json cannot be used/);
    assert.notInclude(runs[3]!.problems.join(), "--resume");
    for (const run of runs.slice(1)) assert.match(advice(run), /the warning says why/);
  });

  it("keeps searches, other folders and files apart, and names a folder that cannot be read", async () => {
    await mkdir(join(parent, "search-x"));
    await writeFile(join(parent, "search-x", "search.json"), "{}");
    await mkdir(join(parent, "notes"));
    await writeFile(join(parent, "file"), "");
    assert.deepEqual(await overviewOf(parent), {
      runs: [],
      searches: [join(parent, "search-x")],
      others: [join(parent, "notes")],
    });
    const error = await rejection(overviewOf(join(parent, "gone")));
    assert.instanceOf(error, ArgumentError);
    assert.include(error.message, "there is no such file or folder");
  });
});
