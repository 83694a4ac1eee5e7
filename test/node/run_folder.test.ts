import { execFileSync } from "node:child_process";
import {
  appendFile,
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { assert } from "chai";
import { ArgumentError } from "../../hrm/terminal/arguments.js";
import { nodeFileSystem, type FileSystem } from "../../hrm/cli/disk/file_system.js";
import { progressText } from "../../hrm/cli/output/follow.js";
import { readRunConfig, RUN_CONFIG_FILE } from "../../hrm/cli/runs/config.js";
import { createRunFolder } from "../../hrm/cli/runs/folder.js";
import { OutputError, writeFileSafely } from "../../hrm/cli/disk/output.js";
import { METRICS_FILE, openRunLog, type MetricsLine } from "../../hrm/cli/runs/log.js";
import { findPreset } from "../../hrm/training/presets.js";
import { LOSSES, TestFileSystem } from "../support/power_cut.js";
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
    const absent = {
      microBatch: null,
      memoryBudget: null,
      autotune: false,
      precision: "f32",
      task: null,
      columns: null,
      validation: null,
      init: null,
    } as const;
    assert.deepEqual(await readRunConfig(folder), { ...old, ...absent });
    await writeFile(join(folder, RUN_CONFIG_FILE), JSON.stringify({ ...old, microBatch: "all" }));
    const error = await rejection(readRunConfig(folder));
    assert.instanceOf(error, ArgumentError);
    assert.include(error.message, 'microBatch: got "all"; expected an integer from 1 to 2147483647 or null');
  });

  it("names --out if no folder can be made", async () => {
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

  it("keeps permissions and links of a file that it replaces, and writes to what is no file", async () => {
    const [path, link, dangling, made] = ["private", "link", "dangling", "made"].map((n) => join(folder, n));
    await writeFile(path!, "old", { mode: 0o600 });
    await symlink("private", link!);
    await symlink(made!, dangling!);
    await writeFileSafely(link!, "new");
    await writeFileSafely(dangling!, "new");
    assert.isTrue((await lstat(link!)).isSymbolicLink());
    for (const file of [path!, made!]) assert.equal(await readFile(file, "utf8"), "new");
    assert.equal((await stat(path!)).mode & 0o777, 0o600);
    await chmod(path!, 0o640);
    await writeFileSafely(path!, "newer");
    assert.equal((await stat(path!)).mode & 0o777, 0o640);
    // A pipe stands for everything that is no file, such as /dev/null, which a failing test would replace.
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    const [arrived] = await Promise.all([readFile(pipe, "utf8"), writeFileSafely(pipe, "sent")]);
    assert.equal(arrived, "sent");
    assert.isTrue((await stat(pipe)).isFIFO());
    await symlink("circle", join(folder, "circle"));
    assert.include((await rejection(writeFileSafely(join(folder, "circle"), ""))).message, "ELOOP");
    assert.sameMembers(await readdir(folder), ["private", "link", "dangling", "made", "circle", "pipe"]);
  });
});

describe("the history of a run", () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-log-"));
    path = join(folder, METRICS_FILE);
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const line = (step: number): MetricsLine => ({
    ...{ kind: "train", step, seconds: 1, loss: 1, lmLoss: 1, qHaltLoss: 0, qContinueLoss: 0 },
    ...{ actSteps: null, learningRate: 1e-3, gradientNorm: 1.5, gradientNormMax: 2 },
  });
  const text = (...steps: number[]): string =>
    steps.map((step) => `${JSON.stringify(line(step))}\n`).join("");
  const test = `${JSON.stringify({ ...line(20), kind: "test" })}\n`;
  const foreign = '{"step": "x"}\n';

  const table: readonly (readonly [what: string, before: string, after: string, warned?: RegExp])[] = [
    ["lines past the step, and a torn last line", `${text(10, 20, 30)}{"kind":"tr`, text(10, 20)],
    ["a look at the test set", text(10, 20) + test, text(10, 20)],
    ["zeros that a power cut left", `${text(20, 30)}\0\0\0`, text(20)],
    ["nothing of a last line without its newline", text(10, 20).trimEnd(), text(10, 20)],
    ["no line before the last that stays", text(10, 99, 20, 30), text(10, 99, 20)],
    ["all lines of a run that starts again", text(30, 40), ""],
    ["nothing of another kind", foreign + foreign, foreign + foreign, /ends at byte 28 is not of a run/],
    ["nothing behind which another line stands", text(30) + foreign, text(30) + foreign, /not of a run/],
    ["no text without an end", "some text", "some text\n", /not of a run/],
    ["no line that is too long", `"${"x".repeat(70_000)}"`, `"${"x".repeat(70_000)}"\n`, /not of a run/],
    ["many lines", text(20, ...Array.from({ length: 5000 }, (_, i) => 21 + i)), text(20)],
  ];
  for (const [what, before, after, warned] of table)
    it(`cuts off ${what}`, async () => {
      await writeFile(path, before);
      const warnings: string[] = [];
      const log = await openRunLog(folder, 20, { warn: (message) => warnings.push(message) });
      await log.write(line(25));
      assert.equal(await readFile(path, "utf8"), after + text(25));
      assert.lengthOf(warnings, warned ? 1 : 0);
      if (warned) assert.match(warnings[0]!, warned);
    });

  it("leaves a file of 600 MB in its place, and reads little of it", async () => {
    await truncate(await writeFile(path, "").then(() => path), 600e6);
    await appendFile(path, `\n${text(10, 20, 30)}`);
    const read: number[] = [];
    const fs: FileSystem = {
      ...nodeFileSystem,
      async open(...args) {
        const file = await nodeFileSystem.open(...args);
        return { ...file, read: (at, length) => (read.push(length), file.read(at, length)) };
      },
    };
    await openRunLog(folder, 20, { fs });
    assert.equal((await stat(path)).size, 600e6 + 1 + text(10, 20).length);
    assert.isBelow(
      read.reduce((sum, length) => sum + length, 0),
      1e6,
    );
  });

  it("refuses a history that cannot be read, and does not touch it", async () => {
    const file = `/run/${METRICS_FILE}`;
    const whole = TestFileSystem.of({ [file]: text(10, 20, 30) });
    await openRunLog("/run", 40, { fs: whole });
    for (let call = 0; call < whole.calls.length; call++) {
      const fs = TestFileSystem.of({ [file]: text(10, 20, 30) });
      fs.failAt = { call, code: "EACCES" };
      const error = await rejection(openRunLog("/run", 40, { fs }));
      assert.instanceOf(error, OutputError, whole.calls[call]);
      assert.include(error.message, "no permission, EACCES");
      assert.equal(new TextDecoder().decode(fs.contentOf(file)), text(10, 20, 30));
    }
    await mkdir(path);
    assert.include((await rejection(openRunLog(folder, 0))).message, "Cannot write");
  });

  it("has every line that was synced, each of them once, wherever the power is cut", async () => {
    const file = `/run/${METRICS_FILE}`;
    const fs = TestFileSystem.of({ "/run/config.json": "{}" });
    const disks: { disk: TestFileSystem; synced: number; logged: number }[] = [];
    let [synced, logged] = [0, 0];
    fs.afterCall = () => {
      for (const loss of LOSSES) disks.push({ disk: fs.afterPowerCut(loss), synced, logged });
    };
    const log = await openRunLog("/run", 0, { fs });
    for (const step of [1, 2, 3]) {
      logged = step;
      await log.write(line(step));
      await log.sync();
      synced = step;
    }
    fs.afterCall();
    for (const { disk, synced: saved, logged: begun } of disks) {
      await openRunLog("/run", saved, { fs: disk });
      const kept = new TextDecoder().decode(disk.contentOf(file));
      assert.equal(kept, text(...[1, 2, 3].slice(0, saved)), `${saved} of ${begun}`);
    }
    assert.isAbove(disks.length, 50);
  });

  it("gives every start an event file of its own", async () => {
    await openRunLog(folder, 0);
    await openRunLog(folder, 0);
    const events = (await readdir(folder)).filter((name) => name.startsWith("events.out.tfevents."));
    assert.lengthOf(events, 2);
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
