/** The cases beside the repository that are about tasks, rules, splits and announcements. */
import { existsSync } from "node:fs";
import { assert } from "chai";
import { announcement } from "../../hrm/cli/output/announcement.js";
import { describeSplits, readPuzzles, splitsOf, withFiles } from "../../hrm/cli/inputs/puzzle_files.js";
import { modelConfig } from "../../hrm/model/config.js";
import { findPreset } from "../../hrm/training/presets.js";
import { countSeveralAnswers, judge, sudokuTask, untrainedIdentifiers } from "../../hrm/puzzles/index.js";
import { rejection } from "../support/rejection.js";

const ROOT = "../shared/cases";

describe("cases of tasks", () => {
  before(function () {
    if (existsSync(ROOT)) return;
    console.log(`      skipped: no ${ROOT}`);
    this.skip();
  });
  const task = sudokuTask(4);

  const refused: readonly (readonly [path: string, said: RegExp])[] = [
    ["08-jsonl-raw-digits/raw4.jsonl", /digits 1\.\.4 are tokens 2\.\.5.*line 1\)/],
    ["08-jsonl-raw-digits/wrong-answers.jsonl", /breaks the rules of sudoku4.*line \d+\)/],
    ["15-official-unchecked/wrong-answers", /puzzle \d+ .*breaks the rules of sudoku4.*labels\.npy/],
    ["15-official-unchecked/raw-digits", /puzzle 1 .*digits 1\.\.4 are tokens 2\.\.5/],
  ];
  for (const [path, said] of refused)
    it(`${path} is refused as sudoku4`, async () => {
      const error = await rejection(readPuzzles(`${ROOT}/${path}`, "--data", { task, split: "test" }));
      assert.match(error.message, said);
    });

  const read: readonly (readonly [path: string, count: number])[] = [
    ["08-jsonl-raw-digits/good4.csv", 60],
    ["08-jsonl-raw-digits/tokens4.jsonl", 60],
    ["15-official-unchecked/good", 60],
  ];
  for (const [path, count] of read)
    it(`${path} is read as sudoku4`, async () => {
      const { set } = await readPuzzles(`${ROOT}/${path}`, "--data", { task, split: "test" });
      assert.equal(set.count, count);
    });

  const grids: readonly (readonly [folder: string, preset: string, task: string])[] = [
    ["15-official-unchecked/half-transposed-6x6", "sudoku6", "grid-6x6-v8"],
    ["15-official-unchecked/sort-81-numbers", "sudoku9-easy", "grid-9x9-v11"],
    ["15-official-unchecked/reverse-rows-5x5", "maze7", "grid-5x5-v6"],
  ];
  for (const [path, name, grid] of grids)
    it(`${path} is ${grid}, and nothing is augmented`, async () => {
      const named = findPreset(name)!;
      const preset = await withFiles(named, { data: `${ROOT}/${path}` });
      assert.deepEqual([preset.task.name, preset.task.symmetry, preset.train.augment], [grid, null, false]);
      const text = announcement({ preset, named, data: path }).join("\n");
      assert.include(text, `nothing is augmented, although the preset augments: ${grid} has no symmetries`);
    });

  it("14: one group is trained, with examples held out", async () => {
    const preset = await withFiles(findPreset("sudoku4")!, { data: `${ROOT}/14-one-group/data` });
    const splits = splitsOf(preset, 0);
    assert.deepEqual([splits.train.count, splits.held], [14, "examples"]);
    assert.match(describeSplits(splits, preset), /examples are held out/);
  });

  it("23: every puzzle has several answers", async () => {
    const { set } = await readPuzzles(`${ROOT}/23-several-solutions/several.csv`, "--data", {
      task,
      split: "test",
    });
    assert.deepEqual(countSeveralAnswers(set, task), { several: 60, counted: 60 });
  });

  it("28: a wrong answer to a task without rules is not said to be solved", async () => {
    const { set, task: mirror } = await readPuzzles(`${ROOT}/28-false-solved/mirror.jsonl`, "--data", {
      split: "train",
    });
    const [input, label] = [set.inputs.slice(0, set.length), set.labels.slice(0, set.length)];
    const wrong = label.map((token) => (token % 5) + 1);
    assert.deepInclude(judge(mirror, input, wrong, label), { solved: false, differing: set.length });
    assert.isTrue(judge(mirror, input, label, label).solved);
    assert.isNull(judge(mirror, input, wrong).solved);
  });

  it("35: every identifier of validation and test is trained", async () => {
    const preset = await withFiles(findPreset("sudoku4")!, {
      data: `${ROOT}/35-validation-of-unseen-identifiers/data`,
    });
    assert.equal(preset.task.name, "grid-3x3-v6");
    const { train, validation, test } = splitsOf(preset, 0);
    for (const side of [validation, test]) assert.equal(untrainedIdentifiers(side, train).untrained, 0);
  });

  it("36: the announcement is that of the run", () => {
    const named = findPreset("sudoku4")!;
    const preset = {
      ...named,
      model: modelConfig({ ...named.model, halt_only: false, swiglu_multiple: 256 }),
    };
    const text = announcement({ preset, named, data: null }).join("\n");
    assert.notMatch(text, /halt-only|multiple of 32|27,586/);
  });
});
