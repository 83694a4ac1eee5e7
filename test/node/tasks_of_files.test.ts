/** What files claim to be: rules are checked in every format, and splits keep identifiers trained. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { ArgumentError } from "../../hrm/terminal/arguments.js";
import {
  describeSplits,
  identifierWarnings,
  namedTask,
  splitsOf,
  withFiles,
} from "../../hrm/cli/inputs/puzzle_files.js";
import { renderSolution } from "../../hrm/cli/output/solution.js";
import { countSolved } from "../../hrm/cli/commands/solve_all.js";
import { findPreset } from "../../hrm/training/presets.js";
import { loadPuzzles, writeDataset, writePuzzleJsonl, type Source } from "../../hrm/files/puzzles/index.js";
import { IGNORE_LABEL, type PuzzleSet } from "../../hrm/puzzles/puzzle_set.js";
import {
  countObeying,
  countSeveralAnswers,
  findTask,
  generateMazes,
  generateSudoku,
  gridTask,
  holdOut,
  judge,
  mazeTask,
  puzzleSet,
  ruleProblem,
  splitPuzzles,
  sudokuSolver,
  sudokuTask,
  untrainedIdentifiers,
  type Task,
} from "../../hrm/puzzles/index.js";
import { rejection } from "../support/rejection.js";

const sudoku = { task: sudokuTask(4), records: generateSudoku({ size: 4, count: 8, seed: 2 }) };
const maze = { task: mazeTask(6), records: generateMazes({ side: 6, count: 8, seed: 2, minLength: 5 }) };
const mirrored = (cells: Int32Array, side: number): Int32Array =>
  cells.map((_, i) => cells[Math.floor(i / side) * side + side - 1 - (i % side)]!);

function folder(set: PuzzleSet, task: Pick<Task, "vocabSize" | "numPuzzleIdentifiers">): Source {
  const files = writeDataset(set, task);
  return { kind: "folder", name: "set", read: (name) => Promise.resolve(files.get(name) ?? null) };
}
const jsonl = (text: string): Source => ({
  kind: "file",
  name: "set.jsonl",
  read: () => Promise.resolve(new TextEncoder().encode(text)),
});

describe("the task of a data set", () => {
  it("an official folder is a Sudoku or maze only if every row obeys its rules", async () => {
    for (const { task, records } of [sudoku, maze]) {
      const good = puzzleSet(records, task.length);
      const read = await loadPuzzles(folder(good, task), { split: "train" });
      assert.deepEqual([read.task.name, read.notes], [task.name, []]);
      // The last row answers by another rule: it is written backwards.
      const labels = good.labels.slice();
      labels.set(mirrored(good.inputs.slice(-task.length), task.columns), labels.length - task.length);
      const bad = { ...good, labels };
      const grid = await loadPuzzles(folder(bad, task), { split: "train" });
      assert.equal(grid.task.name, `grid-${task.rows}x${task.columns}-v${task.vocabSize}`);
      assert.isNull(grid.task.symmetry);
      assert.equal(grid.notes.length, 1);
      assert.match(
        grid.notes[0]!,
        new RegExp(`shape of ${task.name}, but in puzzle 8 \\(index 7\\) .*without symmetries`),
      );
      const error = await rejection(loadPuzzles(folder(bad, task), { split: "train", task }));
      assert.match(
        error.message,
        /puzzle 8 \(index 7\): .* rules of .*grid-\dx\d-v\d.*set\/all__labels\.npy/,
      );
      assert.equal(
        (await loadPuzzles(folder(bad, task), { split: "train", task: grid.task })).task.name,
        grid.task.name,
      );
    }
  });

  it("rows of JSON lines that break the rules of their task are refused with the line", async () => {
    for (const { task, records } of [sudoku, maze]) {
      const bad = records.map((r, i) => (i === 5 ? { ...r, label: mirrored(r.label, task.columns) } : r));
      const error = await rejection(loadPuzzles(jsonl(writePuzzleJsonl(bad, task)), { split: "test", task }));
      assert.match(error.message, /rules of .*set\.jsonl, line 7\)/);
      const good = await loadPuzzles(jsonl(writePuzzleJsonl(records, task)), { split: "test", task });
      assert.equal(good.set.count, 8);
    }
  });

  it("digits in another encoding are named as that, by whatever they are shifted", async () => {
    const { task, records } = sudoku;
    for (const [shift, range] of [
      [-1, "1 to 4"],
      [-2, "0 to 3"],
    ] as const) {
      const raw = records.map((r) => ({
        ...r,
        input: r.input.map((t) => Math.max(0, t + shift)),
        label: r.label.map((t) => t + shift),
      }));
      const error = await rejection(loadPuzzles(jsonl(writePuzzleJsonl(raw, task)), { split: "test", task }));
      assert.include(error.message, `its tokens ${range} look like the digits 1 to 4`);
      assert.include(error.message, "digits 1..4 are tokens 2..5 and a blank is token 1");
      // In a task of its own the same file means what it says.
      const own = await loadPuzzles(jsonl(writePuzzleJsonl(raw, task)), { split: "train" });
      assert.match(own.task.name, /^grid-4x4/);
    }
  });

  it("labels that are ignored are not judged; those that are there are", () => {
    const { task, records } = sudoku;
    const [{ input, label }] = records as [(typeof records)[0]];
    const partly = label.map((token, i) => (i < 8 ? IGNORE_LABEL : token));
    assert.isNull(ruleProblem(task, input, partly));
    assert.isNull(
      ruleProblem(
        task,
        input,
        label.map(() => IGNORE_LABEL),
      ),
    );
    partly[15] = partly[14]!;
    assert.match(ruleProblem(task, input, partly)!, /rules of sudoku4 at row 4/);
    assert.isNull(ruleProblem(gridTask({ rows: 4, columns: 4, vocabSize: 6 }), input, mirrored(label, 4)));
  });

  it("--task names the task, within the sizes of the checkpoint", () => {
    const own = { ...sudokuTask(4), numPuzzleIdentifiers: 3 };
    assert.equal(namedTask(own, undefined), own);
    const grid = namedTask(own, "grid-4x4-v6");
    assert.deepEqual([grid.name, grid.numPuzzleIdentifiers], ["grid-4x4-v6", 3]);
    assert.throws(() => namedTask(own, "sudoku9"), ArgumentError, /--task: got sudoku9.*expected 16 cells/);
    assert.throws(
      () => namedTask(own, "sudoko"),
      ArgumentError,
      /--task: got "sudoko"; expected one of sudoku4/,
    );
  });
});

describe("what is known of an answer", () => {
  const grid = gridTask({ rows: 1, columns: 3, vocabSize: 5 });
  const [input, answer] = [Int32Array.of(1, 1, 0), Int32Array.of(1, 2, 3)];

  it("without rules the label decides, and without a label nothing does", () => {
    assert.deepInclude(judge(grid, input, answer, answer), { solved: true, wrong: [], differing: 0 });
    const wrong = judge(grid, input, answer, Int32Array.of(1, 4, IGNORE_LABEL));
    assert.deepInclude(wrong, { solved: false, wrong: [1], differing: 1 });
    assert.match(wrong.text, /^Wrong: 1 of 2 cells differ from the label/);
    for (const label of [null, new Int32Array(3).fill(IGNORE_LABEL)]) {
      const unknown = judge(grid, input, answer, label);
      assert.deepInclude(unknown, { solved: null, differing: null });
      assert.match(unknown.text, /^Not judged: no rules are known for grid-1x3-v5/);
    }
    const segment = {
      prediction: answer,
      qHalt: 1,
      qContinue: 0,
      residuals: new Float32Array(),
      nonFinite: 0,
    };
    const text = renderSolution({ task: grid, inputs: input, segments: [segment] }, false);
    assert.notMatch(text, /every rule holds/);
  });

  it("by rules an answer unlike the label is right, and said to be another", () => {
    const task = sudokuTask(4);
    const empty = new Int32Array(16).fill(1);
    const [one, other] = [task.parse("1234341221434321"), task.parse("2143341212344321")];
    const verdict = judge(task, empty, one, other);
    assert.isTrue(verdict.solved);
    assert.match(verdict.text, /every rule holds.*label differs in 8 cells: the puzzle has several answers/);
    assert.equal(judge(task, empty, one, one).text, "Solved: every rule holds.");
    assert.isFalse(judge(task, one, other, other).solved, "givens were changed");
  });

  it("counts answers by the rules, and puzzles with several", () => {
    const { task, records } = sudoku;
    const set = puzzleSet(records, 16);
    assert.deepEqual(countSeveralAnswers(set, task), { several: 0, counted: 8 });
    const open = { ...set, inputs: set.inputs.map((t, i) => (i < 16 ? 1 : t)) };
    assert.deepEqual(countSeveralAnswers(open, task), { several: 1, counted: 8 });
    const answers = set.labels.slice(8 * 2);
    assert.deepEqual(countObeying(set, task, 1, set.labels.slice(16)), { obeying: 7, differing: 0 });
    assert.isAtMost(countObeying(set, task, 0, answers).obeying, 7);
    const swapped = open.labels.slice(0, 16).map((t) => (t === 2 ? 3 : t === 3 ? 2 : t));
    assert.deepEqual(countObeying(open, task, 0, swapped), { obeying: 1, differing: 1 });
    assert.isNull(countSeveralAnswers(set, gridTask({ rows: 4, columns: 4, vocabSize: 6 })));

    const room = mazeTask(3);
    const rows = ["S    G   ", "S## ## G "].map((text) => room.decode(text.slice(0, 9)));
    const mazes = rows.map((cells) => ({ source: "", input: cells, label: cells, rating: 0 }));
    assert.deepEqual(countSeveralAnswers(puzzleSet(mazes, 9), room), { several: 2 - 1, counted: 2 });
  });

  it("solve --all counts no answer as solved if no rules are known", () => {
    const puzzle = { question: "1.", answer: "12", problem: null };
    assert.isNull(countSolved([{ ...puzzle, solved: null }]));
    assert.equal(countSolved([true, false].map((solved) => ({ ...puzzle, solved }))), 1);
  });

  it("the solver's work is bounded, and it says when the bound ended the search", () => {
    const empty = new Int32Array(81).fill(1);
    const bounded = sudokuSolver(9).search(empty, 1e9, 50);
    assert.isFalse(bounded.complete);
    assert.isAtMost(bounded.tried, 50);
    assert.isTrue(sudokuSolver(9).search(empty).complete);
  });
});

/** `puzzles` puzzles of an identifier of their own, of `images` images a group and `rows` examples each. */
function arcLike(groups: number, images: number, rows: number, sameLabels = false): PuzzleSet {
  const count = groups * images * rows;
  const labels = Int32Array.from({ length: 4 * count }, (_, i) =>
    sameLabels ? 1 : 1 + (((i >> 2) * 7 + i) % 90),
  );
  return {
    count,
    length: 4,
    inputs: Int32Array.from({ length: 4 * count }, (_, i) => 1 + (i % 90)),
    labels,
    identifiers: Int32Array.from({ length: count }, (_, row) => Math.floor(row / rows)),
    groups: {
      puzzleIndices: Int32Array.from({ length: groups * images + 1 }, (_, p) => p * rows),
      groupIndices: Int32Array.from({ length: groups + 1 }, (_, g) => g * images),
    },
  };
}

describe("splits of puzzles that identifiers tell apart", () => {
  const task = gridTask({ rows: 2, columns: 2, vocabSize: 100, numPuzzleIdentifiers: 400 });

  it("hold out examples of puzzles that stay in training, with all of their images", () => {
    const set = arcLike(10, 3, 4);
    const options = { by: "solution", count: 5, seed: 1 } as const;
    const { rest, held, unit } = holdOut(set, task, options);
    assert.equal(unit, "examples");
    assert.isAtLeast(held.count, 5);
    assert.equal(untrainedIdentifiers(held, rest).untrained, 0);
    assert.equal(new Set(rest.identifiers).size, 30, "no identifier is lost");
    assert.equal(rest.count, set.count - 3 * held.count, "the images of a held-out example are in no set");
    assert.equal(rest.groups!.groupIndices.length, 11);
    assert.equal(rest.groups!.puzzleIndices.at(-1), rest.count);
    assert.deepEqual(holdOut(set, task, options).held, held);
    const split = splitPuzzles(set, task, { by: "solution", validation: 4, test: 4, seed: 2 });
    assert.equal(split.held, "examples");
    for (const side of [split.validation, split.test])
      assert.equal(untrainedIdentifiers(side, split.train).untrained, 0);
  });

  it("rows without groups: the last row of an identifier stays in training", () => {
    const flat = arcLike(12, 1, 2);
    const { groups: _, ...set } = { ...flat };
    const { rest, held } = holdOut(set, task, { by: "solution", count: 100, seed: 3 });
    assert.equal(held.count, 12);
    assert.equal(untrainedIdentifiers(held, rest).untrained, 0);
  });

  it("one group gives examples, also if all of them have one answer; one row gives none", () => {
    for (const sameLabels of [false, true]) {
      const one = { ...arcLike(1, 1, 16, sameLabels) };
      const split = splitPuzzles(one, task, { by: "solution", validation: 1, test: 1, seed: 0 });
      assert.equal(split.held, "examples");
      assert.deepEqual([split.train.count, split.validation.count, split.test.count], [14, 1, 1]);
    }
    assert.throws(
      () => holdOut(arcLike(1, 1, 1), task, { by: "solution", count: 1, seed: 0 }),
      /nothing would be left/,
    );
    assert.throws(
      () => holdOut(arcLike(4, 1, 1), task, { by: "solution", count: 1, seed: 0, unit: "examples" }),
      /of which none can be held out/,
    );
  });

  it("if no example can be spared, puzzles are held out and the warning counts what was never trained", () => {
    const set = arcLike(20, 1, 1);
    const { rest, held, unit } = holdOut(set, task, { by: "solution", count: 3, seed: 0 });
    assert.equal(unit, "puzzles");
    const splits = { train: rest, validation: held, test: rest, held: unit };
    const warnings = identifierWarnings(splits, { puzzle_emb_ndim: 8 });
    assert.equal(warnings.length, 1);
    assert.include(warnings[0]!, `identifiers in validation ${held.count}, of which trained 0`);
    assert.deepEqual(identifierWarnings(splits, { puzzle_emb_ndim: 0 }), [], "identifiers are not embedded");
    assert.match(
      identifierWarnings({ ...splits, test: held, validation: rest }, { puzzle_emb_ndim: 8 })[0]!,
      /^identifiers in test /,
    );
  });

  it("from files: examples, or nothing is held out, and the line says which", async () => {
    const place = await mkdtemp(join(tmpdir(), "hrm-tasks-"));
    try {
      await mkdir(join(place, "train"));
      const size = { vocabSize: 100, numPuzzleIdentifiers: 400 };
      for (const [name, bytes] of writeDataset(arcLike(1, 1, 16), size))
        await writeFile(join(place, "train", name), bytes);
      const preset = findPreset("sudoku4")!;
      const files = await withFiles(preset, { data: place });
      assert.match(describeSplits(splitsOf(files, 0), files), /^14 training.*examples are held out/);
      const none = await withFiles(preset, { data: place, validation: "none" });
      const splits = splitsOf(none, 0);
      assert.deepEqual([splits.train.count, splits.validation.count, splits.held], [16, 16, "nothing"]);
      assert.match(describeSplits(splits, none), /nothing is held out: validation shows training puzzles/);
      const puzzles = await withFiles(preset, { data: place, validation: "puzzles" });
      assert.throws(() => splitsOf(puzzles, 0), ArgumentError, /Or train on all of them: --validation none/);
      const named = await rejection(withFiles(preset, { data: place, task: "sudoku4" }));
      assert.match(named.message, /^--data: dataset: 4 cells of 100 tokens.*for sudoku4/);
      assert.equal(
        (await withFiles(preset, { data: place, task: "grid-2x2-v100" })).task.numPuzzleIdentifiers,
        400,
      );
      assert.isUndefined(findTask("grid-0x2-v100"));
    } finally {
      await rm(place, { recursive: true, force: true });
    }
  });
});
