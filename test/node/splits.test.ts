import { assert } from "chai";
import { UsageError } from "../../engine/errors.js";
import { findPreset, presetNames, withPuzzles } from "../../hrm/training/presets.js";
import {
  countShared,
  generateMazes,
  generateSudoku,
  gridTask,
  holdOut,
  majorityOfBlanks,
  mazeTask,
  puzzleSet,
  splitPuzzles,
  sudokuClass,
  sudokuInvariant,
  sudokuSymmetry,
  sudokuTask,
  type PuzzleSet,
} from "../../hrm/puzzles/index.js";
import { countParameters } from "../../hrm/model/parameters.js";

const rowTexts = (set: PuzzleSet): string[] =>
  Array.from({ length: set.count }, (_, i) =>
    set.inputs.subarray(i * set.length, (i + 1) * set.length).join(),
  );

describe("splits", () => {
  for (const [what, task, records] of [
    ["6x6 sudoku", sudokuTask(6), generateSudoku({ size: 6, count: 300, seed: 1 })],
    ["9x9 sudoku", sudokuTask(9), generateSudoku({ size: 9, count: 60, seed: 1 })],
    ["mazes", mazeTask(6), generateMazes({ side: 6, count: 60, seed: 1, minLength: 5 })],
  ] as const) {
    it(`${what}: no class is on two sides, every puzzle on one, and the seed decides`, () => {
      const set = puzzleSet(records, task.length);
      const options = { by: "class", validation: 10, test: 12, seed: 5 } as const;
      const { train, validation, test } = splitPuzzles(set, task, options);
      assert.sameMembers([train, validation, test].flatMap(rowTexts), rowTexts(set));
      assert.isAtLeast(validation.count, 10);
      assert.isAtLeast(test.count, 12);
      assert.equal(countShared(train, test, task, "class"), 0);
      assert.equal(countShared(train, validation, task, "class"), 0);
      assert.equal(countShared(validation, test, task, "class"), 0);
      assert.deepEqual(splitPuzzles(set, task, options).test, test);
      assert.notDeepEqual(splitPuzzles(set, task, { ...options, seed: 6 }).test, test);
    });
  }

  it("many puzzles are split by hashes and invariants: no class on two sides, each puzzle on one", () => {
    for (const size of [6, 9] as const) {
      const task = sudokuTask(size);
      const records = generateSudoku({ size, count: 40, seed: 3 });
      // 300 relabelled copies of each, so that canonical forms alone would take some ten seconds.
      const many = records.flatMap(({ input, label }) =>
        Array.from({ length: 300 }, (_, k) => {
          const move = (token: number): number => (token < 2 ? token : 2 + ((token - 2 + k) % size));
          return { source: "", input: input.map(move), label: label.map(move), rating: 0 };
        }),
      );
      const set = puzzleSet(many, task.length);
      let canonical = 0;
      const counted = { ...task, classOf: () => String(canonical++) };
      const options = { by: "class", validation: 310, test: 310, seed: 5 } as const;
      const { train, validation, test } = splitPuzzles(set, counted, options);
      assert.equal(canonical, 0);
      assert.equal(train.count + validation.count + test.count, 12_000);
      const classes = ({ inputs, labels, count, length }: PuzzleSet): Set<string> =>
        new Set(
          Array.from({ length: Math.ceil(count / 50) }, (_, i) =>
            task.classOf(
              inputs.subarray(i * 50 * length, (i * 50 + 1) * length),
              labels.subarray(i * 50 * length, (i * 50 + 1) * length),
            ),
          ),
        );
      const sides = [train, validation, test].map(classes);
      assert.equal(
        new Set(sides.flatMap((side) => [...side])).size,
        sides.reduce((sum, side) => sum + side.size, 0),
      );
      assert.equal(countShared(train, test, task, "class"), 0);
      const solutions = splitPuzzles(set, task, { ...options, by: "solution" });
      assert.equal(countShared(solutions.train, solutions.test, task, "solution"), 0);
      assert.isAbove(countShared(solutions.train, solutions.test, task, "class"), 0);
    }
  });

  it("invariants do not change under symmetries, and tell classes apart", () => {
    const symmetry = sudokuSymmetry(9);
    const grids = generateSudoku({ size: 9, count: 60, seed: 4 }).map(({ label }) => label);
    const invariants = grids.map((grid) => sudokuInvariant(grid, symmetry));
    assert.equal(new Set(invariants).size, new Set(grids.map((grid) => sudokuClass(grid, symmetry))).size);
    const images: ((grid: Int32Array) => Int32Array)[] = [
      (grid) => grid.map((token) => 11 - token + 1),
      (grid) => grid.map((_, i) => grid[(i % 9) * 9 + Math.floor(i / 9)]!),
      (grid) => grid.map((_, i) => grid[(i + 27) % 81]!),
      (grid) => grid.map((_, i) => grid[Math.floor(i / 9) * 9 + [1, 0, 2, 3, 4, 5, 8, 7, 6][i % 9]!]!),
    ];
    for (const image of images)
      assert.deepEqual(
        grids.map((grid) => sudokuInvariant(image(grid), symmetry)),
        invariants,
      );
    const maze = mazeTask(6);
    for (const { input } of generateMazes({ side: 6, count: 5, seed: 2, minLength: 4 })) {
      const turned = input.map((_, i) => input[(5 - (i % 6)) * 6 + Math.floor(i / 6)]!);
      assert.equal(maze.invariantOf!(turned, turned), maze.invariantOf!(input, input));
    }
  });

  it("does not depend on the order of the puzzles", () => {
    const task = sudokuTask(9);
    const records = generateSudoku({ size: 9, count: 30, seed: 2 });
    const held = (list: typeof records) =>
      rowTexts(holdOut(puzzleSet(list, 81), task, { by: "class", count: 5, seed: 1 }).held).sort();
    assert.deepEqual(held(records), held([...records].reverse()));
  });

  it("by solution, symmetric solutions may be on two sides; by class they may not, and 4x4 has too few", () => {
    const task = sudokuTask(4);
    const set = puzzleSet(generateSudoku({ size: 4, count: 200, seed: 1 }), 16);
    const { rest, held } = holdOut(set, task, { by: "solution", count: 20, seed: 1 });
    assert.equal(countShared(rest, held, task, "solution"), 0);
    assert.isAbove(countShared(rest, held, task, "class"), 0);
    assert.throws(
      () => splitPuzzles(set, task, { by: "class", validation: 20, test: 20, seed: 1 }),
      UsageError,
      /symmetry classes and 20 to hold out; nothing would be left/,
    );
  });

  it("groups stay whole: the rest keeps them, a held-out one gives its first puzzle", () => {
    const task = gridTask({ rows: 1, columns: 1, vocabSize: 100 });
    const tokens = Int32Array.from({ length: 12 }, (_, i) => i + 1);
    const set: PuzzleSet = {
      count: 12,
      length: 1,
      inputs: tokens,
      // Augmentations have answers of their own here; the group's first row speaks for it.
      labels: tokens,
      identifiers: tokens.map((t) => t * 2),
      // 4 groups of 1, 2, 1 and 2 puzzles; the first puzzle of each has two rows.
      groups: {
        puzzleIndices: Int32Array.of(0, 2, 4, 5, 7, 9, 12),
        groupIndices: Int32Array.of(0, 1, 3, 4, 6),
      },
    };
    const { rest, held } = holdOut(set, task, { by: "class", count: 1, seed: 3 });
    assert.equal(held.count, 2);
    assert.isUndefined(held.groups);
    const first = held.inputs[0]!;
    assert.deepEqual([...held.inputs], [first, first + 1]);
    const starts = [1, 3, 6, 8];
    const dropped = starts.indexOf(first);
    assert.notEqual(dropped, -1);
    const ends = [3, 6, 8, 13];
    const kept = [0, 1, 2, 3].filter((g) => g !== dropped);
    const rows = kept.flatMap((g) => [...tokens].filter((t) => t >= starts[g]! && t < ends[g]!));
    assert.deepEqual([...rest.inputs], rows);
    assert.deepEqual(
      [...rest.identifiers],
      rows.map((t) => 2 * t),
    );
    const { puzzleIndices, groupIndices } = rest.groups!;
    const puzzles = [
      [[1, 2]],
      [[3, 4], [5]],
      [[6, 7]],
      [
        [8, 9],
        [10, 11, 12],
      ],
    ];
    const wanted = kept.map((g) => puzzles[g]!);
    const found = Array.from({ length: groupIndices.length - 1 }, (_, g) =>
      Array.from({ length: groupIndices[g + 1]! - groupIndices[g]! }, (_, p) => {
        const puzzle = groupIndices[g]! + p;
        return [...rest.inputs.subarray(puzzleIndices[puzzle], puzzleIndices[puzzle + 1])];
      }),
    );
    assert.deepEqual(found, wanted);
  });
});

describe("the majority baseline", () => {
  it("counts the most frequent label where label and input differ, ignored ones left out", () => {
    const set: PuzzleSet = {
      count: 2,
      length: 4,
      inputs: Int32Array.of(1, 1, 2, 1, 1, 1, 3, 1),
      labels: Int32Array.of(3, 3, 2, 4, 3, -100, 3, 2),
      identifiers: new Int32Array(2),
    };
    assert.equal(majorityOfBlanks(set), 3 / 5);
    assert.isNaN(majorityOfBlanks({ ...set, labels: set.inputs }));
  });
});

describe("presets", () => {
  it("every preset's model fits its task, and its splits fit its training", () => {
    for (const name of presetNames) {
      const { task, model, train, splitBy } = findPreset(name)!;
      assert.deepEqual(
        [model.seq_len, model.vocab_size, model.num_puzzle_identifiers],
        [task.length, task.vocabSize, task.numPuzzleIdentifiers],
        name,
      );
      if (train.augment) assert.equal(splitBy, "class", name);
    }
  });

  for (const [name, size] of [
    ["sudoku6", 6],
    ["maze7", 7],
  ] as const) {
    it(`${name}: generated splits are valid and disjoint by class @slow`, () => {
      const preset = findPreset(name)!;
      const { task } = preset;
      const { train, validation, test } = preset.splits(7);
      assert.equal(task.length, size * size);
      assert.isAtLeast(train.count, 2000);
      const labels = (set: PuzzleSet, i: number) =>
        set.labels.subarray(i * task.length, (i + 1) * task.length);
      for (let i = 0; i < 20; i++)
        assert.isTrue(
          task.check(test.inputs.subarray(i * task.length, (i + 1) * task.length), labels(test, i)).solved,
        );
      assert.equal(countShared(test, train, task, "class"), 0);
      assert.equal(countShared(validation, train, task, "class"), 0);
    });
  }

  it("the official recipes have the published size, and ask for puzzles", () => {
    const sudoku = findPreset("sudoku-extreme-1k")!;
    // The published number, and the one row of the puzzle embedding.
    assert.equal(countParameters(sudoku.model), 27275266 + 512);
    assert.throws(() => sudoku.splits(0), UsageError, /has no puzzles of its own; pass a CSV file/);
    assert.equal(findPreset("maze-30x30-hard-1k")!.task.name, "maze-30x30");
  });

  it("on other puzzles the model takes their sizes", () => {
    const task = gridTask({ rows: 2, columns: 5, vocabSize: 7, numPuzzleIdentifiers: 3 });
    const preset = findPreset("sudoku6")!;
    const splits = (seed: number) => preset.splits(seed);
    const { model, train } = withPuzzles(preset, { task, splitBy: "solution", splits });
    assert.deepEqual([preset.train.augment, train.augment], [true, false], "a task without symmetries");
    assert.deepEqual([model.seq_len, model.vocab_size, model.num_puzzle_identifiers], [10, 7, 3]);
  });
});
