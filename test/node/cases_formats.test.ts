/** Puzzle files of the kinds that people have, where they lie beside the repository. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { assert } from "chai";
import { choosePuzzle } from "../../hrm/cli/commands/solve.js";
import { readPuzzles } from "../../hrm/cli/inputs/puzzle_files.js";
import { findTask, sudokuTask } from "../../hrm/puzzles/index.js";
import { rejection } from "../support/rejection.js";

const CASES = "../shared/cases";

describe("cases of puzzle files", () => {
  before(function () {
    if (existsSync(CASES)) return;
    console.log(`      skipped: no ${CASES}`);
    this.skip();
  });
  const at = (path: string): string => join(CASES, path);

  const read: readonly (readonly [path: string, task: string])[] = [
    ["01-headerless-4-columns/sample.csv", "sudoku9"],
    ["01-headerless-4-columns/sample4.csv", "sudoku4"],
    ["04-delimiters/semicolon.csv", "sudoku4"],
    ["04-delimiters/sep-line.csv", "sudoku4"],
    ["04-delimiters/tabs.tsv", "sudoku4"],
    ["04-delimiters/comma-space.csv", "sudoku4"],
    ["04-delimiters/commented.csv", "sudoku4"],
    ["06-column-names/bench.csv", "sudoku4"],
    ["06-column-names/index-first.csv", "sudoku4"],
    ["06-column-names/input-output.csv", "sudoku4"],
    ["07-jsonl-strings/hf-export.jsonl", "sudoku4"],
    ["09-reasoning-gym/mini.jsonl", "sudoku4"],
    ["16-npy-variants/float64", "sudoku4"],
    ["16-npy-variants/float32", "sudoku4"],
    ["16-npy-variants/three-dims", "sudoku4"],
    ["16-npy-variants/all.npz", "sudoku4"],
    ["18-box-orientation/wide-boxes.csv", "sudoku6"],
    ["19-16x16/hex.csv", "sudoku16"],
  ];
  for (const [path, name] of read) {
    it(`reads ${path}`, async () => {
      const { task, set, answered } = await readPuzzles(at(path), "--data", { split: "test" });
      assert.deepEqual([task.name, answered], [name, true]);
      assert.isAbove(set.count, 3);
      for (let row = 0; row < set.count; row++) {
        const range = [row * set.length, (row + 1) * set.length] as const;
        assert.isTrue(task.check(set.inputs.subarray(...range), set.labels.subarray(...range)).solved);
      }
    });
  }

  const refused: readonly (readonly [path: string, message: RegExp])[] = [
    ["17-arc-json/task.json", /an ARC task .*make a data set folder .* hrm generate --arc/],
    ["17-arc-json/tasks.json", /2 ARC tasks .*hrm generate --arc/],
    ["18-box-orientation/tall-boxes.csv", /fits boxes of 3 rows x 2 columns, but sudoku6 has .*transpose/],
    ["27-lfs-pointer/train.csv", /a Git LFS pointer of a file of 718984238 bytes.*git lfs pull/],
    ["27-lfs-pointer/data", /a Git LFS pointer of a file of \d+ bytes/],
    ["03-puzzle-only-lists/list.sdm", /comes without its answer.*hrm solve/],
    ["03-puzzle-only-lists/only-question.csv", /comes without its answer.*hrm solve/],
  ];
  for (const [path, message] of refused) {
    it(`refuses ${path}`, async () => {
      assert.match((await rejection(readPuzzles(at(path), "--data", { split: "train" }))).message, message);
    });
  }

  for (const [file, side] of [
    ["list4.txt", 4],
    ["bank4.txt", 4],
    ["list.sdm", 9],
    ["commented.txt", 9],
    ["top-like.txt", 9],
    ["only-question.csv", 9],
  ] as const) {
    it(`solve takes puzzles of 03-puzzle-only-lists/${file}`, async () => {
      const task = findTask(`sudoku${side}`)!;
      const path = at(`03-puzzle-only-lists/${file}`);
      const { inputs } = await choosePuzzle(task, undefined, { path, option: "--data" }, 2);
      assert.isAbove(inputs.filter((token) => token > 1).length, 3);
      if (side === 4) assert.equal(task.format(inputs), "3..41...2...4..1");
    });
  }

  for (const file of [
    "a-plain",
    "b-spaces",
    "c-bars",
    "d-starred-frame",
    "f-question-marks",
    "g-stars",
    "h-x",
    "i-dashes",
    "k-underscores",
    "o-comment",
  ]) {
    it(`solve reads the pasted board 21-pasted-grids/${file}.txt`, async () => {
      const text = readFileSync(at(`21-pasted-grids/${file}.txt`), "utf8");
      const { inputs } = await choosePuzzle(sudokuTask(4), text, null, 1);
      assert.equal(sudokuTask(4).format(inputs), "1.422...4.....1.");
    });
  }

  it("solve names the contradiction of 21-pasted-grids/p-twins.txt", async () => {
    const text = readFileSync(at("21-pasted-grids/p-twins.txt"), "utf8");
    assert.match((await rejection(choosePuzzle(sudokuTask(4), text, null, 1))).message, /two 1 in row 1/);
  });
});
