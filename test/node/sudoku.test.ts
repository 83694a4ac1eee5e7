import { assert } from "chai";
import {
  hostRandom,
  PuzzleError,
  renderSideBySide,
  shuffle,
  sudoku4Grids,
  sudoku4Splits,
  sudokuTask,
  sudokuUnits,
  type PuzzleSet,
  SUDOKU_SIZES,
  type SudokuSize,
} from "../../hrm/puzzles/index.js";
import { UsageError } from "../../engine/errors.js";

const DIGITS = "123456789ABCDEFG";
/** A full grid: each row of a band is the one above, moved by a box; each band by one cell more. */
const shiftedGrid = (size: number, boxRows: number): string =>
  Array.from({ length: size * size }, (_, cell) => {
    const [row, column] = [Math.floor(cell / size), cell % size];
    return DIGITS[((row % boxRows) * (size / boxRows) + Math.floor(row / boxRows) + column) % size];
  }).join("");
const SOLVED: Readonly<Record<SudokuSize, string>> = {
  12: shiftedGrid(12, 3),
  16: shiftedGrid(16, 4),
  4: "1234341221434321",
  6: "123456456123231564564231312645645312",
  9: "123456789456789123789123456214365897365897214897214365531642978642978531978531642",
};
const SIZES = SUDOKU_SIZES;

function puzzle(set: PuzzleSet, index: number): { input: Int32Array; label: Int32Array } {
  const range = [index * set.length, (index + 1) * set.length] as const;
  return { input: set.inputs.subarray(...range), label: set.labels.subarray(...range) };
}

/** Counts solutions by search, without the bit masks of the generator. */
function countSolutions(input: ArrayLike<number>): number {
  const task = sudokuTask(4);
  const cells = Int32Array.from(input);
  const count = (from: number): number => {
    const cell = cells.indexOf(1, from);
    if (cell < 0) return 1;
    let found = 0;
    for (let token = 2; token <= 5; token++) {
      cells[cell] = token;
      if (task.check(input, cells).violations.length === 0) found += count(cell + 1);
    }
    cells[cell] = 1;
    return found;
  };
  return count(0);
}

describe("sudoku rules and text", () => {
  for (const size of SIZES) {
    const task = sudokuTask(size);
    const length = size * size;
    const solution = task.parse(SOLVED[size]);
    const empty = new Int32Array(length).fill(1);

    it(`${task.name}: every unit has ${size} distinct cells and every cell is in three units`, () => {
      const units = sudokuUnits(size);
      assert.lengthOf(units, 3 * size);
      for (const unit of units) assert.equal(new Set(unit).size, size);
      const uses = new Int32Array(length);
      for (const cell of units.flat()) uses[cell]!++;
      assert.isTrue(uses.every((n) => n === 3));
    });

    it(`${task.name}: encodes digits as d + 1, blanks as 1`, () => {
      assert.equal(task.vocabSize, size + 2);
      assert.equal(task.length, length);
      assert.deepEqual(
        [...solution],
        [...SOLVED[size]].map((digit) => DIGITS.indexOf(digit) + 2),
      );
      assert.deepEqual([...task.parse("._0".padEnd(length, "."))], [...empty]);
    });

    it(`${task.name}: text, with or without a frame, reads back`, () => {
      const holes = solution.map((token, i) => (i % 3 === 0 ? 1 : token));
      assert.deepEqual(task.parse(task.format(holes)), holes);
      assert.deepEqual(task.parse(task.renderText(holes)), holes);
    });

    it(`${task.name}: accepts a solution and names the cells of every change`, () => {
      assert.deepEqual(task.check(empty, solution), { solved: true, violations: [] });
      assert.deepEqual(task.check(solution, solution), { solved: true, violations: [] });
      assert.deepEqual(task.check(empty, empty), { solved: false, violations: [] });
      for (let cell = 0; cell < length; cell++) {
        const changed = solution.slice();
        changed[cell] = changed[cell] === 2 ? 3 : 2;
        const verdict = task.check(empty, changed);
        assert.isFalse(verdict.solved);
        assert.include(verdict.violations, cell);
        assert.isAtLeast(verdict.violations.length, 3, "a wrong digit has twins in row, column and box");
      }
    });

    it(`${task.name}: a changed given is a violation although the grid is valid`, () => {
      const swapped = solution.map((token) => (token === 2 ? 3 : token === 3 ? 2 : token));
      const cell = solution.indexOf(2);
      const givens = empty.slice();
      givens[cell] = 2;
      assert.isTrue(task.check(empty, swapped).solved);
      assert.deepEqual(task.check(givens, swapped), { solved: false, violations: [cell] });
      const erased = solution.slice();
      erased[cell] = 1;
      assert.deepEqual(task.check(givens, erased), { solved: false, violations: [cell] });
    });
  }

  it("tokens outside the vocabulary are violations; PAD is an empty cell", () => {
    const task = sudokuTask(4);
    const answer = task.parse(SOLVED[4]);
    answer[3] = 17;
    answer[5] = 0;
    const empty = new Int32Array(16).fill(1);
    assert.deepEqual(task.check(empty, answer), { solved: false, violations: [3] });
    assert.equal(task.format(answer), "123?3.1221434321");
  });

  const badTexts: [string, RegExp][] = [
    ["123", /got 3 cells; expected 16/],
    [".".repeat(17), /got 17 cells; expected 16/],
    ["12345...........", /got "5" as character 5; expected the digits 1 to 4/],
    ["12x", /got "x" as character 3/],
    ["", /got 0 cells/],
  ];
  for (const [text, message] of badTexts) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => sudokuTask(4).parse(text), PuzzleError, message);
    });
  }

  const PUZZLE = "1.422...4.....1.";
  const rowsOf = (text: string, between = ""): string[] =>
    (text.match(/.{4}/g) ?? []).map((row) => [...row].join(between));
  const pasted: [string, string][] = [
    ["rows", rowsOf(PUZZLE).join("\n")],
    ["rows of Windows, indented", rowsOf(PUZZLE, " ").join("\r\n  ")],
    ["bars and crossings", "1 . | 4 2\n2 . | . .\n----+----\n4 . | . .\n. . | 1 .\n"],
    ["a frame of stars", "*-------*\n|1.|42|\n|2.|..|\n|--+--|\n|4.|..|\n|..|1.|\n*-------*"],
    [
      "a frame and 0",
      "+----+----+\n| 10 | 42 |\n| 20 | 00 |\n+====+====+\n| 40 | 00 |\n| 00 | 10 |\n+----+----+",
    ],
    ["commas and question marks", rowsOf(PUZZLE.replaceAll(".", "?"), ",").join("\n")],
    ["empty fields between commas", "1,,4,2\n2,,,\n4,,,\n,,1,"],
    ["empty fields between tabs", "1\t\t4\t2\n2\t\t\t\n4\t\t\t\n\t\t1\t\n"],
    ["spaces", PUZZLE.replaceAll(".", " ")],
    ["rows with spaces, cut at their ends", "1 42\n2\n4\n  1"],
    ["brackets", `[[1, 0, 4, 2], [2, 0, 0, 0],\n [4, 0, 0, 0], [0, 0, 1, 0]]`],
    ["comments before the rows", "#A me\n#D a puzzle of 2024\n1.42\n2...\n4...\n..1."],
    ["sections", "[Puzzle]\n1.42\n2...\n4...\n..1.\n"],
    ["prose around the rows", "Solve this:\n1 _ 4 2\n2 _ _ _\n4 _ _ _\n_ _ 1 _\nAnswer in the same form."],
    ["bars and question marks", "1 ? | 4 2\n2 ? | ? ?\n----+----\n4 ? | ? ?\n? ? | 1 ?"],
    ["a frame, and dashes for blanks", "|1-|42|\n|2-|--|\n|==+==|\n|4-|--|\n|--|1-|"],
    ...["_", "0", "-", "*", "x", "X", "?", "~", "#", "\u00b7", "\u25a1"].map((blank): [string, string] => [
      `${blank} for blanks`,
      PUZZLE.replaceAll(".", blank),
    ]),
  ];
  for (const [what, text] of pasted) {
    it(`reads a pasted board: ${what}`, () => {
      const task = sudokuTask(4);
      assert.equal(task.format(task.parse(text)), PUZZLE);
    });
  }

  it("reads 16x16 in the symbols that people use: 1-9 A-G, small letters, 0-F, A-P, numbers", () => {
    const task = sudokuTask(16);
    const answer = SOLVED[16];
    const cells = task.decode(answer);
    const question = [...answer].map((digit, i) => (i % 3 === 0 ? digit : ".")).join("");
    const given = task.decode(question);
    const written = (symbols: string, text: string): string =>
      [...text].map((digit) => (digit === "." ? "." : symbols[DIGITS.indexOf(digit)]!)).join("");
    for (const symbols of [
      DIGITS.toLowerCase(),
      "0123456789ABCDEF",
      "0123456789abcdef",
      "ABCDEFGHIJKLMNOP",
    ]) {
      const label = written(symbols, answer);
      assert.deepEqual(task.decode(label), cells, symbols);
      assert.deepEqual(task.decode(written(symbols, question), label), given, symbols);
    }
    assert.deepEqual(task.decode(question.replaceAll(".", "0"), answer), given, "0 for blanks");
    const numbers = [...given].map((token) => (token === 1 ? "." : String(token - 1)));
    assert.deepEqual(task.parse(numbers.join(" ")), given);
  });

  it("names contradictory givens, and boxes that lie across", () => {
    const problem = (size: SudokuSize, text: string, answer?: string): string | null => {
      const task = sudokuTask(size);
      return task.problemOf!(task.decode(text), answer === undefined ? undefined : task.decode(answer));
    };
    assert.equal(problem(4, "11".padEnd(16, ".")), "two 1 in row 1");
    assert.equal(problem(4, "2...2".padEnd(16, ".")), "two 2 in column 1");
    assert.equal(problem(4, "..........3....3"), "two 3 in box 4");
    assert.equal(problem(16, "G..............G".padEnd(256, ".")), "two G in row 1");
    assert.isNull(problem(9, ".".repeat(81)));
    const wide = SOLVED[6];
    const tall = [...wide].map((_, i) => wide[(i % 6) * 6 + Math.floor(i / 6)]!).join("");
    const empty = ".".repeat(36);
    assert.isNull(problem(6, empty, wide));
    assert.match(
      problem(6, empty, tall)!,
      /boxes of 3 rows x 2 columns, but sudoku6 has boxes of 2 rows x 3/,
    );
    assert.isNull(problem(6, empty, wide.replace("12", "21")));
  });

  it("refuses cells of another length", () => {
    assert.throws(() => sudokuTask(4).check([1], [1]), PuzzleError, /input of 1 cells; expected 16/);
    assert.throws(() => sudokuTask(9).renderText([1]), PuzzleError, /cells of 1 cells; expected 81/);
  });

  it("draws frames, and colours only on request", () => {
    const task = sudokuTask(4);
    const input = task.parse("1...............");
    const cells = task.parse("11..............");
    assert.equal(
      task.renderText(cells, { input, violations: [0, 1] }),
      "┌─────┬─────┐\n│ 1 1 │ . . │\n│ . . │ . . │\n├─────┼─────┤\n│ . . │ . . │\n│ . . │ . . │\n└─────┴─────┘",
    );
    const colored = task.renderText(cells, { input, violations: [0, 1], color: true });
    assert.include(colored, "│ \x1b[1;31m1\x1b[0m \x1b[31m1\x1b[0m │ \x1b[2m.\x1b[0m ");
  });

  it("puts blocks side by side under centred titles and wraps to the terminal", () => {
    assert.equal(
      renderSideBySide(["ab\ncd", "\x1b[1me\x1b[0m"], ["x", "one"]),
      "x   one\nab  \x1b[1me\x1b[0m\ncd",
    );
    assert.equal(renderSideBySide(["aaaa", "bbbb", "cccc"], [], { columns: 10 }), "aaaa  bbbb\n\ncccc");
    assert.equal(renderSideBySide([]), "");
  });
});

describe("sudoku4 puzzles", () => {
  it("lists all 288 grids once, in order", () => {
    const texts = sudoku4Grids().map((grid) => sudokuTask(4).format(grid));
    assert.lengthOf(texts, 288);
    assert.deepEqual(texts, [...new Set(texts)].sort());
    const empty = new Int32Array(16).fill(1);
    assert.isTrue(sudoku4Grids().every((grid) => sudokuTask(4).check(empty, grid).solved));
  });

  it("has two symmetry classes, of 96 and 192 grids", () => {
    // Generators of the group: neighbouring digits, rows of a band, bands, and transposition (which gives the columns).
    const moveCells = (from: (row: number, column: number) => number) => (grid: Int32Array) =>
      grid.map((_, i) => grid[from(i >> 2, i & 3)]!);
    const swapDigits = (a: number, b: number) => (grid: Int32Array) =>
      grid.map((token) => (token === a ? b : token === b ? a : token));
    const generators = [
      swapDigits(2, 3),
      swapDigits(3, 4),
      swapDigits(4, 5),
      moveCells((row, column) => [1, 0, 2, 3][row]! * 4 + column),
      moveCells((row, column) => [0, 1, 3, 2][row]! * 4 + column),
      moveCells((row, column) => [2, 3, 0, 1][row]! * 4 + column),
      moveCells((row, column) => column * 4 + row),
    ];
    const unvisited = new Map(sudoku4Grids().map((grid) => [grid.join(), grid]));
    const sizes: number[] = [];
    for (const [key, start] of unvisited) {
      unvisited.delete(key);
      const orbit = [start];
      for (const grid of orbit) {
        for (const image of generators.map((generate) => generate(grid))) {
          if (unvisited.delete(image.join())) orbit.push(image);
        }
      }
      sizes.push(orbit.length);
    }
    assert.sameMembers(sizes, [96, 192]);
  });

  const splits = sudoku4Splits({ seed: 7 });
  const names = ["train", "validation", "test"] as const;

  it("splits 288 grids into 230, 29 and 29", () => {
    const grids = names.map((name) => {
      const set = splits[name];
      return new Set(Array.from({ length: set.count }, (_, i) => puzzle(set, i).label.join()));
    });
    assert.deepEqual(
      grids.map(({ size }) => size),
      [230, 29, 29],
    );
    assert.equal(new Set(grids.flatMap((set) => [...set])).size, 288);
  });

  for (const [name, count] of [
    ["train", 32768],
    ["validation", 1024],
    ["test", 1024],
  ] as const) {
    it(`${name}: ${count} distinct puzzles of 6 to 10 givens, each with one solution`, () => {
      const set = splits[name];
      assert.equal(set.count, count);
      assert.equal(set.length, 16);
      assert.deepEqual(set.identifiers, new Int32Array(count));
      const seen = new Set<string>();
      const givens = new Array<number>(17).fill(0);
      for (let i = 0; i < count; i++) {
        const { input, label } = puzzle(set, i);
        seen.add(input.join());
        assert.isTrue(input.every((token, cell) => token === 1 || token === label[cell]));
        givens[input.reduce((n, token) => n + (token === 1 ? 0 : 1), 0)]!++;
        if (i < 256) assert.equal(countSolutions(input), 1);
      }
      assert.equal(seen.size, count);
      assert.equal(
        givens.slice(6, 11).reduce((a, b) => a + b),
        count,
      );
      // Uniform number of givens: five standard deviations of a binomial with p = 1/5.
      for (const n of givens.slice(6, 11)) assert.closeTo(n, count / 5, 5 * Math.sqrt(count * 0.16));
    });
  }

  it("depends on the seed, and a split not on the size of the others", () => {
    const again = sudoku4Splits({ seed: 7, train: 10, validation: 100 });
    assert.deepEqual(again.test, splits.test);
    assert.deepEqual(again.validation.inputs, splits.validation.inputs.slice(0, 1600));
    assert.notDeepEqual(
      sudoku4Splits({ seed: 8, train: 10, validation: 10 }).test.inputs,
      splits.test.inputs,
    );
  });

  it("refuses invalid counts and seeds @slow", () => {
    for (const train of [0, -1, 1.5, NaN]) {
      assert.throws(() => sudoku4Splits({ seed: 0, train }), UsageError, /train = /);
    }
    assert.throws(
      () => sudoku4Splits({ seed: 0, train: 1, test: 1_000_000 }),
      UsageError,
      /ran out of distinct puzzles/,
    );
    assert.throws(() => sudoku4Splits({ seed: -1 }), RangeError, /seed -1/);
  });
});

describe("host random numbers", () => {
  it("are the same for the same seed and stream, and differ for others", () => {
    const draw = (seed: number, stream?: string): string => {
      const random = hostRandom(seed, stream);
      return Array.from({ length: 4 }, () => random.uint32()).join();
    };
    assert.equal(draw(1, "a"), draw(1, "a"));
    const all = [
      draw(0),
      draw(1),
      draw(2 ** 32),
      draw(2 ** 32 + 1),
      draw(1, "a"),
      draw(1, "b"),
      draw(2 ** 53 - 1),
    ];
    assert.equal(new Set(all).size, all.length);
  });

  it("are uniform: mean and chi-square of bounded draws", () => {
    const random = hostRandom(3);
    const n = 20000;
    const bins = new Array<number>(7).fill(0);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      bins[random.below(7)]!++;
      const u = random.uniform();
      assert.isTrue(u >= 0 && u < 1);
      sum += u;
    }
    assert.closeTo(sum / n, 0.5, 5 / Math.sqrt(12 * n));
    const chiSquare = bins.reduce((total, k) => total + (k - n / 7) ** 2 / (n / 7), 0);
    assert.isBelow(chiSquare, 27.9, "six degrees of freedom, p = 1e-4");
  });

  it("shuffle keeps every item", () => {
    const items = Array.from({ length: 50 }, (_, i) => i);
    const shuffled = [...items];
    shuffle(hostRandom(0), shuffled);
    assert.notDeepEqual(shuffled, items);
    assert.sameMembers(shuffled, items);
  });
});
