import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { assert } from "chai";
import { readPuzzles } from "../../hrm/cli/inputs/puzzle_files.js";
import { sudokuSolver, sudokuTask } from "../../hrm/puzzles/index.js";

const CLI = resolve("dist/cli.js");

describe("hrm generate @slow", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hrm-generate-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const generate = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, "generate", ...args], {
      cwd: folder,
      encoding: "utf8",
    });
    return { status, stdout, stderr };
  };

  for (const [task, out, format, ...more] of [
    ["sudoku9", "nine.csv", "csv", "--difficulty", "medium"],
    ["sudoku6", "six.jsonl", "jsonl", "--min-givens", "16", "--max-givens", "18"],
    ["maze-9x9", "deep/mazes", "official", "--min-length", "15"],
    ["maze-6x6", "mixed.csv", "csv", "--min-length", "2", "--min-length-to", "9"],
  ] as const) {
    it(`${task} as ${format}: what it writes is read again, and the seed decides it`, async () => {
      const args = ["--task", task, "--count", "7", "--seed", "3", ...more];
      const { status, stdout, stderr } = generate(...args, "--out", out, "--format", format, "--json");
      assert.equal(status, 0, stderr);
      const report = JSON.parse(stdout) as Record<string, unknown>;
      assert.deepEqual([report["task"], report["count"], report["format"]], [task, 7, format]);
      const read = await readPuzzles(join(folder, out), "--data", { split: "train" });
      assert.equal(read.set.count, 7);
      assert.equal(read.format, format);
      // JSON lines do not say what they hold.
      if (format !== "jsonl") assert.equal(read.task.name, task);
      assert.equal(generate(...args, "--out", `again-${task}`, "--format", format).status, 0);
      const again = await readPuzzles(join(folder, `again-${task}`), "--data", { split: "train" });
      assert.deepEqual(again.set, read.set);
    });
  }

  it("keeps its promises: hidden singles, and not naked ones alone", async () => {
    const { set } = await readPuzzles(join(folder, "nine.csv"), "--data", {
      task: sudokuTask(9),
      split: "train",
    });
    for (let i = 0; i < set.count; i++) {
      const input = set.inputs.subarray(i * 81, (i + 1) * 81);
      assert.isTrue(sudokuSolver(9).yieldsTo(input, "naked and hidden"));
      assert.isFalse(sudokuSolver(9).yieldsTo(input, "naked"));
    }
  });

  it("keeps an existing file unless --overwrite is given", () => {
    writeFileSync(join(folder, "mine.csv"), "mine");
    const refused = generate("--count", "1", "--out", "mine.csv");
    assert.deepEqual([refused.status, refused.stdout], [2, ""]);
    assert.include(refused.stderr, "mine.csv exists");
    assert.equal(readFileSync(join(folder, "mine.csv"), "utf8"), "mine");
    assert.equal(generate("--count", "1", "--out", "mine.csv", "--overwrite").status, 0);
    assert.match(readFileSync(join(folder, "mine.csv"), "utf8"), /^source,question,answer,rating\n/);
  });

  const wrong: [string[], RegExp][] = [
    [["--count", "3"], /--out: got nothing/],
    [["--out", "x.csv", "--task", "sudoku5"], /--task: got "sudoku5"; expected sudoku4/],
    [["--out", "x.csv", "--task", "grid-3x3-v4"], /--task: got "grid-3x3-v4"/],
    [["--out", "x.csv", "--task", "maze-9x9", "--difficulty", "easy"], /--difficulty: .* no such option/],
    [["--out", "x.csv", "--min-length", "9"], /--min-length: got 9; sudoku9 has no such option/],
    [["--out", "x.csv", "--min-givens", "30"], /expected both --min-givens and --max-givens/],
    [["--out", "x.csv", "--task", "sudoku4", "--difficulty", "hard"], /found no such puzzle of 4x4/],
    [["--out", "x.csv", "--task", "maze-5x5", "--min-length", "60"], /minLength 60 for 5x5; found none/],
    [
      ["--out", "x.csv", "--task", "maze-5x5", "--min-length-to", "6"],
      /--min-length-to: got 6 without --min-length/,
    ],
    [
      ["--out", "x.csv", "--task", "maze-5x5", "--min-length", "7", "--min-length-to", "6"],
      /--min-length-to: got 6; expected at least --min-length \(7\)/,
    ],
    [["--out", "x.csv", "--min-length-to", "9"], /--min-length-to: got 9; sudoku9 has no such option/],
  ];
  for (const [args, message] of wrong) {
    it(`refuses ${args.join(" ")} and writes nothing`, () => {
      const before = readdirSync(folder);
      const { status, stderr } = generate(...args);
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
      assert.deepEqual(readdirSync(folder), before);
    });
  }
});
