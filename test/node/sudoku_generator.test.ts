import { assert } from "chai";
import { UsageError } from "../../engine/errors.js";
import {
  generateSudoku,
  hostRandom,
  shuffle,
  sudoku4Grids,
  sudokuSolver,
  sudokuTask,
  type SudokuDifficulty,
  type SudokuSize,
} from "../../hrm/puzzles/index.js";
import { readPuzzleCsv } from "../../hrm/files/puzzles/index.js";
import { testSeed } from "../support/platform.js";
import { sharedData } from "../support/shared_data.js";

const random = hostRandom(testSeed, "sudoku generator tests");
const SIZES: readonly SudokuSize[] = [4, 6, 9];

/** Solutions up to 2, by plain search over the rules as the checker states them: shares nothing with the solver. */
function plainCount(puzzle: ArrayLike<number>, size: SudokuSize): number {
  const task = sudokuTask(size);
  const cells = Int32Array.from(puzzle);
  const allowed = (cell: number): number[] =>
    Array.from({ length: size }, (_, d) => d + 2).filter((token) => {
      cells[cell] = token;
      const ok = task.check(puzzle, cells).violations.length === 0;
      cells[cell] = 1;
      return ok;
    });
  let found = 0;
  const visit = (): void => {
    let best: { cell: number; tokens: number[] } | undefined;
    cells.forEach((token, cell) => {
      if (token !== 1 || best?.tokens.length === 0) return;
      const tokens = allowed(cell);
      if (!best || tokens.length < best.tokens.length) best = { cell, tokens };
    });
    if (!best) found++;
    else
      for (const token of best.tokens) {
        if (found >= 2) return;
        cells[best.cell] = token;
        visit();
        cells[best.cell] = 1;
      }
  };
  visit();
  return found;
}

/** A random symmetric image, by permuting rows, columns and digits one step after another. */
function image(grid: ArrayLike<number>, size: SudokuSize): Int32Array {
  const [R, C] = size === 9 ? [3, 3] : size === 6 ? [2, 3] : [2, 2];
  const blocks = (block: number): number[] => {
    const order = Array.from({ length: size / block }, (_, b) => b);
    shuffle(random, order);
    return order.flatMap((b) => {
      const inside = Array.from({ length: block }, (_, i) => b * block + i);
      shuffle(random, inside);
      return inside;
    });
  };
  const [rows, columns] = [blocks(R), blocks(C)];
  const digits = Array.from({ length: size }, (_, d) => d);
  shuffle(random, digits);
  const flip = R === C && random.below(2) === 1;
  return Int32Array.from({ length: size * size }, (_, i) => {
    const [r, c] = flip ? [i % size, Math.floor(i / size)] : [Math.floor(i / size), i % size];
    return digits[grid[rows[r]! * size + columns[c]!]! - 2]! + 2;
  });
}

describe("sudoku solver", () => {
  it("takes as many guesses as an independent program with the same rules, on 600 rated puzzles", function () {
    const text = new TextDecoder().decode(sharedData(this, "sudoku/mrv-ratings.csv"));
    const rows = text.trim().split("\n").slice(1, 601);
    const task = sudokuTask(9);
    for (const row of rows) {
      const [question, guesses] = row.split(",");
      const { solutions, guesses: taken } = sudokuSolver(9).search(task.parse(question!));
      assert.deepEqual({ solutions, taken }, { solutions: 1, taken: Number(guesses) }, question);
    }
  });

  it("finds the published answers, and naked singles suffice for the easy file", function () {
    const set = readPuzzleCsv(sharedData(this, "sudoku/easy-test.csv"), sudokuTask(9));
    assert.equal(set.count, 500);
    for (let i = 0; i < set.count; i++) {
      const input = set.inputs.subarray(i * 81, (i + 1) * 81);
      const { first, guesses } = sudokuSolver(9).search(input);
      assert.equal(guesses, 0);
      assert.deepEqual([...first!], [...set.labels.subarray(i * 81, (i + 1) * 81)]);
      assert.isTrue(sudokuSolver(9).yieldsTo(input, "naked"));
    }
  });

  it("counts all 288 grids of 4x4, and none where givens contradict each other", () => {
    const empty = new Int32Array(16).fill(1);
    assert.equal(sudokuSolver(4).search(empty, 1000).solutions, 288);
    const task = sudokuTask(4);
    assert.equal(sudokuSolver(4).search(task.parse("11..............")).solutions, 0);
    assert.equal(sudokuSolver(4).search(task.parse("123....4........")).solutions, 0);
    assert.isNull(sudokuSolver(4).complete(task.parse("123....4........"), () => 0));
  });
});

describe("sudoku generator", () => {
  const rows: [SudokuSize, SudokuDifficulty, [number, number], number][] = [
    [4, "easy", [5, 8], 20],
    [4, "any", [4, 10], 20],
    [6, "easy", [16, 20], 12],
    [6, "medium", [10, 14], 6],
    [9, "easy", [30, 37], 6],
    [9, "medium", [27, 31], 4],
    [9, "hard", [24, 27], 3],
    [9, "any", [28, 40], 4],
  ];
  for (const [size, difficulty, givens, count] of rows) {
    const slow = size === 9 && difficulty === "hard" ? " @slow" : "";
    it(`${size}x${size} ${difficulty}: one solution, ${givens.join(" to ")} givens, and as hard as it says${slow}`, () => {
      const seed = random.below(2 ** 32);
      const task = sudokuTask(size);
      const records = generateSudoku({ size, count, seed, difficulty, givens });
      assert.equal(new Set(records.map(({ input }) => task.format(input))).size, count);
      for (const { input, label, rating } of records) {
        assert.isTrue(task.check(input, label).solved);
        assert.equal(plainCount(input, size), 1, `seed ${seed}: ${task.format(input)}`);
        const given = input.filter((token) => token > 1).length;
        assert.isTrue(given >= givens[0] && given <= givens[1]);
        const solver = sudokuSolver(size);
        const naked = solver.yieldsTo(input, "naked");
        const singles = solver.yieldsTo(input, "naked and hidden");
        if (difficulty === "easy") assert.isTrue(naked);
        if (difficulty === "medium") assert.isTrue(!naked && singles);
        if (difficulty === "hard") assert.isFalse(singles);
        assert.equal(rating === 0, singles);
      }
    });
  }

  it("the seed decides the puzzles", () => {
    const make = (seed: number) => generateSudoku({ size: 6, count: 3, seed });
    assert.deepEqual(make(5), make(5));
    assert.notDeepEqual(make(5), make(6));
  });

  it("refuses what cannot be met, and says so", () => {
    assert.throws(
      () => generateSudoku({ size: 4, count: 1, seed: 0, difficulty: "hard" }),
      UsageError,
      /difficulty hard with \d givens; found no such puzzle/,
    );
    assert.throws(() => generateSudoku({ size: 4, count: 0, seed: 0 }), UsageError, /count 0/);
    assert.throws(
      () => generateSudoku({ size: 4, count: 1, seed: 0, givens: [9, 3] }),
      UsageError,
      /givens from 9 to 3/,
    );
  });

  it("tells from one open cell whether singles fill the grid, as the whole fill does", () => {
    for (const singles of ["naked", "naked and hidden"] as const) {
      const puzzles = generateSudoku({
        size: 9,
        difficulty: singles === "naked" ? "easy" : "medium",
        count: 20,
        seed: testSeed,
      });
      const told = { true: 0, false: 0 };
      for (const { input } of puzzles)
        for (const [cell, token] of input.entries()) {
          if (token === 1 || !sudokuSolver(9).yieldsTo(input, singles)) continue;
          const without = input.slice();
          without[cell] = 1;
          const fills = sudokuSolver(9).fills(without, cell, singles);
          assert.equal(fills, sudokuSolver(9).yieldsTo(without, singles));
          told[`${fills}`]++;
        }
      assert.isAbove(told.true, 10);
      assert.isAbove(told.false, 10);
    }
  });
});

describe("sudoku symmetry classes", () => {
  for (const size of SIZES) {
    it(`${size}x${size}: symmetric images of random grids have one class`, () => {
      const task = sudokuTask(size);
      for (let i = 0; i < 5; i++) {
        const grid = sudokuSolver(size).complete(new Int32Array(size * size).fill(1), (n) =>
          random.below(n),
        )!;
        const key = task.classOf(grid, grid);
        for (let j = 0; j < 10; j++) {
          const other = image(grid, size);
          assert.isTrue(task.check(other, other).solved);
          assert.equal(task.classOf(other, other), key);
        }
        const canonical = task.decode(key);
        assert.isTrue(task.check(canonical, canonical).solved, "the canonical form is a grid of the class");
      }
    });
  }

  it("4x4: the 288 grids fall in classes of 96 and 192 grids", () => {
    const sizes = new Map<string, number>();
    for (const grid of sudoku4Grids()) {
      const key = sudokuTask(4).classOf(grid, grid);
      sizes.set(key, (sizes.get(key) ?? 0) + 1);
    }
    assert.sameMembers([...sizes.values()], [96, 192]);
  });

  it("6x6: random grids meet most of the 49 known classes and no other", () => {
    const keys = new Set<string>();
    for (let i = 0; i < 1500; i++) {
      const grid = sudokuSolver(6).complete(new Int32Array(36).fill(1), (n) => random.below(n))!;
      keys.add(sudokuTask(6).classOf(grid, grid));
    }
    assert.isAtMost(keys.size, 49);
    assert.isAtLeast(keys.size, 40);
  });

  it("9x9: files whose splits are disjoint up to symmetry share no class", function () {
    const task = sudokuTask(9);
    const classes = (file: string, count: number): Set<string> => {
      const { labels } = readPuzzleCsv(sharedData(this, file), task);
      return new Set(
        Array.from({ length: count }, (_, i) => {
          const grid = labels.subarray(i * 81, (i + 1) * 81);
          return task.classOf(grid, grid);
        }),
      );
    };
    const [train, test] = [classes("sudoku/easy-train.csv", 300), classes("sudoku/easy-test.csv", 300)];
    assert.isTrue([...test].every((key) => !train.has(key)));
    assert.isAbove(train.size, 290);
  });
});
