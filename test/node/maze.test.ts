import { assert } from "chai";
import { UsageError } from "../../engine/errors.js";
import { readPuzzleCsv } from "../../hrm/files/puzzles/index.js";
import {
  findTask,
  generateMazes,
  gridTask,
  hostRandom,
  mazeTask,
  PuzzleError,
  sudokuTask,
  taskOfShape,
} from "../../hrm/puzzles/index.js";
import { testSeed } from "../support/platform.js";
import { sharedData } from "../support/shared_data.js";

const random = hostRandom(testSeed, "maze tests");

/** Moves of the shortest path and how many such paths there are, by relaxation until nothing changes. */
function shortestPaths(text: string, side: number): { moves: number; paths: number } {
  const near = (cell: number): number[] =>
    [
      [-1, 0],
      [1, 0],
      [0, -1],
      [0, 1],
    ].flatMap(([dr, dc]) => {
      const [r, c] = [Math.floor(cell / side) + dr!, (cell % side) + dc!];
      return r >= 0 && r < side && c >= 0 && c < side && text[r * side + c] !== "#" ? [r * side + c] : [];
    });
  const distance = Array.from(text, (character) => (character === "S" ? 0 : Infinity));
  for (let changed = true; changed;) {
    changed = false;
    distance.forEach((_, cell) => {
      if (text[cell] === "#") return;
      const best = Math.min(...near(cell).map((n) => distance[n]! + 1));
      if (best < distance[cell]!) [distance[cell], changed] = [best, true];
    });
  }
  const count = (cell: number): number =>
    distance[cell] === 0
      ? 1
      : near(cell)
          .filter((n) => distance[n] === distance[cell]! - 1)
          .reduce((sum, n) => sum + count(n), 0);
  const goal = text.indexOf("G");
  return { moves: distance[goal]!, paths: Number.isFinite(distance[goal]) ? count(goal) : 0 };
}

describe("mazes", () => {
  const task = mazeTask(5);
  const input = " S # " + "  ## " + "#    " + "# #G " + "     ";
  const answer = " So# " + "  o# ".replace("o#", "##") + "#    " + "# #G " + "     ";

  it("encodes # SGo as 1 to 5, and text reads back with and without a frame", () => {
    const cells = mazeTask(3).decode("#  S oG  ");
    assert.deepEqual([...cells], [1, 2, 2, 3, 2, 5, 4, 2, 2]);
    assert.equal(mazeTask(3).format(cells), "#  S oG  ");
    assert.deepEqual(mazeTask(3).parse(mazeTask(3).renderText(cells)), cells);
    assert.deepEqual(mazeTask(3).parse("#  \nS o\r\nG  \n"), cells);
    assert.equal(mazeTask(3).renderText(cells), "┌───┐\n│#  │\n│S o│\n│G  │\n└───┘");
    assert.include(mazeTask(3).renderText(cells, { violations: [5], color: true }), "\x1b[31mo\x1b[0m");
  });

  const verdicts: [string, string, boolean, number[]][] = [
    ["the shortest path", " S # " + " o## " + "#oo  " + "# #G " + "     ", false, []],
    ["the shortest path, complete", " S # " + " o## " + "#ooo " + "# #G " + "     ", true, []],
    ["a detour", "oS # " + "oo## " + "#ooo " + "# #G " + "     ", false, []],
    ["a longer way round", " S # " + " o## " + "#ooo " + "#o#G " + "     ", false, []],
    ["a mark that S does not reach", " S # " + " o## " + "#ooo " + "# #G " + "    o", false, [24]],
    ["a path through a wall", " So# " + " #o# " + "#ooo " + "# #G " + "     ", false, [6, 7]],
    ["S moved", "S  # " + " o## " + "#ooo " + "# #G " + "     ", false, [0, 1]],
    ["nothing marked", input, false, []],
  ];
  for (const [what, text, solved, violations] of verdicts) {
    it(`checks ${what}`, () => {
      const cells = task.decode(text);
      assert.deepEqual(task.check(task.decode(input), cells), { solved, violations });
    });
  }

  it("a blank or foreign token is a violation; a maze without S or with two G is never solved", () => {
    const cells = task.decode(" S # " + " o## " + "#ooo " + "# #G " + "     ");
    cells[24] = 0;
    assert.deepEqual(task.check(task.decode(input), cells), { solved: false, violations: [24] });
    const noStart = task.decode(input.replace("S", " "));
    assert.isFalse(task.check(noStart, noStart).solved);
    const twoGoals = task.decode(`SG${input.slice(2)}`);
    assert.isFalse(task.check(twoGoals, twoGoals).solved);
    assert.throws(
      () => task.parse(input.replace("S", " ")),
      PuzzleError,
      /0 cells "S"; expected exactly one/,
    );
  });

  it("refuses text of another length or with other characters", () => {
    assert.throws(() => task.decode(answer.slice(1)), PuzzleError, /24 characters; expected 25/);
    assert.throws(() => task.decode(`x${input.slice(1)}`), PuzzleError, /"x" as character 1/);
    assert.throws(() => task.check([1], [1]), PuzzleError, /input of 1 cells; expected 25/);
    assert.throws(() => mazeTask(2), PuzzleError, /side of 2; expected an integer from 3 to 64/);
  });

  for (const [side, minLength, count] of [
    [5, 6, 20],
    [10, 21, 15],
    [16, 45, 4],
  ] as const) {
    it(`generates ${side}x${side} with one shortest path of at least ${minLength} moves`, () => {
      const seed = random.below(2 ** 32);
      const maze = mazeTask(side);
      const records = generateMazes({ side, count, seed, minLength });
      assert.deepEqual(records, generateMazes({ side, count, seed, minLength }));
      assert.equal(new Set(records.map((r) => maze.classOf(r.input, r.label))).size, count);
      for (const { input: cells, label, rating } of records) {
        const { moves, paths } = shortestPaths(maze.format(cells), side);
        assert.deepEqual({ moves, paths }, { moves: rating, paths: 1 }, `seed ${seed}`);
        assert.isAtLeast(moves, minLength);
        assert.isTrue(maze.check(cells, label).solved);
        assert.equal(label.filter((token) => token === 5).length, moves - 1);
      }
    });
  }

  it("mixes filters of a range uniformly, and leaves out mazes that are held out, and their images", () => {
    const seed = random.below(2 ** 32);
    const options = { side: 5, count: 300, seed, minLength: [2, 9] } as const;
    const records = generateMazes(options);
    assert.deepEqual(records, generateMazes(options));
    const lengths = records.map(({ rating }) => rating);
    const share = (test: (moves: number) => boolean): number => lengths.filter(test).length / lengths.length;
    assert.isAtLeast(Math.min(...lengths), 2);
    assert.isAbove(
      share((moves) => moves >= 9),
      1 / 16,
      `one in 8 of the filters asks for 9 moves, seed ${seed}`,
    );
    assert.isAbove(
      share((moves) => moves < 6),
      1 / 8,
      `half of the filters allow fewer than 6 moves, seed ${seed}`,
    );
    const maze = mazeTask(5);
    const without = records.slice(0, 150);
    const held = new Set(without.map((r) => maze.classOf(r.input, r.label)));
    for (const { input, label } of generateMazes({ ...options, count: 200, without }))
      assert.isFalse(held.has(maze.classOf(input, label)), "a maze that was held out");
    assert.throws(() => generateMazes({ ...options, minLength: [5, 4] }), UsageError, /minLength 5-4/);
  });

  it("says when a length is out of reach", () => {
    assert.throws(
      () => generateMazes({ side: 4, count: 1, seed: 0, minLength: 30 }),
      UsageError,
      /minLength 30 for 4x4; found none/,
    );
  });

  it("rotations and reflections have one class, other mazes another", () => {
    const maze = mazeTask(6);
    const [a, b] = generateMazes({ side: 6, count: 2, seed: random.below(2 ** 32), minLength: 5 });
    const rotate = (cells: Int32Array): Int32Array =>
      cells.map((_, i) => cells[(5 - (i % 6)) * 6 + Math.floor(i / 6)]!);
    const reflect = (cells: Int32Array): Int32Array =>
      cells.map((_, i) => cells[Math.floor(i / 6) * 6 + (5 - (i % 6))]!);
    let image = a!.input;
    for (let i = 0; i < 8; i++) {
      assert.equal(maze.classOf(image, image), maze.classOf(a!.input, a!.label));
      image = i === 3 ? reflect(image) : rotate(image);
    }
    assert.notEqual(maze.classOf(a!.input, a!.label), maze.classOf(b!.input, b!.label));
  });

  for (const side of [10, 20, 30]) {
    it(`every answer of the ${side}x${side} file is solved, and its rating is the number of moves`, function () {
      const bytes = sharedData(this, `maze/maze-${side}x${side}-test.csv`);
      const set = readPuzzleCsv(bytes, mazeTask(side));
      assert.equal(set.count, 200);
      const ratings = new TextDecoder().decode(bytes).trimEnd().split("\n").slice(1);
      const marked = Array.from(
        { length: 200 },
        (_, i) => set.labels.subarray(i * side * side, (i + 1) * side * side).filter((t) => t === 5).length,
      );
      assert.deepEqual(
        marked.map((n) => n + 1),
        ratings.map((row) => Number(row.split(",").at(-1))),
      );
    });
  }
});

describe("tasks by name and by shape", () => {
  it("every task finds itself by its name", () => {
    const tasks = [sudokuTask(4), sudokuTask(6), sudokuTask(9), mazeTask(10), mazeTask(30)];
    tasks.push(gridTask({ rows: 3, columns: 5, vocabSize: 4 }));
    for (const { name, length, vocabSize } of tasks) {
      const found = findTask(name)!;
      assert.deepEqual(
        { name: found.name, length: found.length, vocabSize: found.vocabSize },
        { name, length, vocabSize },
      );
    }
    for (const name of ["sudoku5", "maze-10x11", "maze-2x2", "maze-99x99", "grid-0x3-v4", "x", ""])
      assert.isUndefined(findTask(name), name);
  });

  it("a vocabulary has an entry for each token, the one that text has", () => {
    const letters = gridTask({ rows: 2, columns: 2, vocabSize: 4, symbols: "_abc" });
    for (const task of [sudokuTask(4), sudokuTask(6), sudokuTask(9), mazeTask(5), letters]) {
      const vocabulary = task.vocabulary()!;
      assert.lengthOf(vocabulary, task.vocabSize, task.name);
      assert.lengthOf(new Set(vocabulary), task.vocabSize, task.name);
      for (let token = 1; token < task.vocabSize; token++)
        assert.equal(task.format(new Int32Array(task.length).fill(token))[0], vocabulary[token], task.name);
    }
    assert.isNull(gridTask({ rows: 1, columns: 2, vocabSize: 500 }).vocabulary());
  });

  it("shapes tell tasks", () => {
    assert.equal(taskOfShape(81, 11).name, "sudoku9");
    assert.equal(taskOfShape(16, 6).name, "sudoku4");
    assert.equal(taskOfShape(900, 6).name, "maze-30x30");
    assert.equal(taskOfShape(900, 12).name, "grid-30x30-v12");
    assert.equal(taskOfShape(7, 3).name, "grid-1x7-v3");
  });

  it("a grid task reads, writes, draws and checks by the rules it is given", () => {
    const rows = { rows: 2, columns: 3, vocabSize: 4, symbols: "_abc" };
    const task = gridTask({ ...rows, check: (_, a) => ({ solved: a[0] === 3, violations: [1] }) });
    const cells = task.parse("abc\n_ab");
    assert.deepEqual([...cells], [1, 2, 3, 0, 1, 2]);
    assert.equal(task.format(cells), "abc_ab");
    assert.equal(task.renderText(cells), "abc\n_ab");
    assert.deepEqual(task.check(cells, [3, 0, 0, 0, 0, 0]), { solved: true, violations: [1] });
    assert.throws(() => task.parse("abcd_a"), PuzzleError, /"d" as character 4/);
    assert.throws(() => gridTask({ ...rows, symbols: "aab" }), PuzzleError, /3 symbols; expected 4/);
    const wide = gridTask({ rows: 1, columns: 3, vocabSize: 200 });
    assert.deepEqual([...wide.parse(wide.format([7, 150, 199]))], [7, 150, 199]);
    assert.throws(() => wide.parse("7 150 200"), PuzzleError, /got "200"; expected tokens from 0 to 199/);
    assert.throws(() => wide.parse("7 150 1.5"), PuzzleError, /got "1.5"/);
    assert.isNull(wide.check([0, 0, 0], [1, 2, 3]).solved, "no rules are known");
  });

  it("pictures are well-formed SVG with one text a filled cell", () => {
    const sudoku = sudokuTask(4);
    const svg = sudoku.renderPicture(sudoku.parse("12.............."), {
      input: sudoku.parse("1..............."),
      violations: [1],
    });
    assert.match(svg, /^<svg [^>]*aria-label="Sudoku 4x4">.*<\/svg>$/);
    assert.equal(svg.match(/<text/g)!.length, 2);
    assert.equal(svg.match(/font-weight="bold"/g)!.length, 1);
    assert.equal(svg.match(/#f4a09b/g)!.length, 1);
    const maze = mazeTask(3);
    const drawn = maze.renderPicture(maze.decode("#S ooG## "));
    assert.equal(drawn.match(/<rect/g)!.length, 3 + 2 + 2);
    const odd = gridTask({ rows: 1, columns: 2, vocabSize: 3, symbols: ".<&" });
    assert.include(odd.renderPicture([1, 2]), ">&#60;</text>");
  });
});
