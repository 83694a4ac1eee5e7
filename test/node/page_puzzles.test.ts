/** What the page says of puzzles and how it changes them: validity, solutions, hardness, and held-out puzzles. */
import { assert } from "chai";
import { changed, isGiven, lookOf, toolsOf } from "../../docs/playground/puzzles/cells.js";
import { heldOut } from "../../docs/playground/puzzles/held_out.js";
import { hardness, judge } from "../../docs/playground/puzzles/judge.js";
import { findTask } from "../../hrm/puzzles/tasks/registry.js";
import { generateMazes } from "../../hrm/puzzles/tasks/maze_generator.js";
import { findPreset } from "../../hrm/training/presets.js";

const sudoku = findTask("sudoku4")!;
const maze = findTask("maze-5x5")!;

describe("the page's word on a puzzle", () => {
  const said = (task: typeof sudoku, text: string) => judge(task, task.decode(text));

  it("counts the solutions of a Sudoku", () => {
    assert.deepEqual(said(sudoku, "1...............").solvable, true);
    assert.match(said(sudoku, "1...............").text, /^72 solutions; a proper puzzle has one\.$/);
    assert.match(said(sudoku, "................").text, /^At least 100 solutions/);
    assert.deepEqual(said(sudoku, "12343412214343.."), {
      proper: true,
      solvable: true,
      text: "Exactly one solution.",
    });
    assert.equal(said(sudoku, "11..............").text, "This breaks a rule: two 1 in row 1.");
    // No rule is broken yet, but no digit is left for the last cell of the first row.
    assert.equal(said(sudoku, "123....4........").text, "This puzzle has no solution.");
    assert.equal(said(sudoku, "123....4........").solvable, false);
  });

  it("finds the shortest paths of a maze, and counts them", () => {
    const open = "S                       G";
    // Eight moves, four of them down: 8 choose 4.
    assert.equal(said(maze, open).text, "The shortest path has 8 moves; there are 70 of that length.");
    const one = "S    #### #### #### ####G".slice(0, 25);
    assert.equal(said(maze, one).text, "The shortest path has 8 moves; there is exactly one.");
    assert.equal(said(maze, "S#   #                  G").text, "No way leads from the start to the goal.");
    assert.equal(judge(maze, new Int32Array(25).fill(2)).text, "This maze has no start.");
  });

  it("calls more blanks and longer paths harder", () => {
    const label = sudoku.decode("1234341221434321");
    const [few, many] = ["123434122143432.", "12..34..2...4..."].map((text) => sudoku.decode(text));
    assert.isAbove(hardness(sudoku, many!, label), hardness(sudoku, few!, label));
  });
});

describe("the page's cells", () => {
  it("keep one start and one goal in a maze", () => {
    const cells = maze.decode("S                       G");
    const moved = changed(maze, cells, 7, 3);
    assert.equal(maze.format(moved), "       S                G");
    assert.equal(maze.format(cells), "S                       G", "the version before stays as it was");
  });

  it("have a look and a tool for every token", () => {
    for (const task of [sudoku, maze, findTask("sudoku9")!])
      for (const { token, keys } of toolsOf(task)) {
        assert.isNotEmpty(lookOf(task, token).spoken);
        assert.isNotEmpty(keys);
      }
    assert.deepEqual(
      [1, 2, 5].map((token) => isGiven(sudoku, token)),
      [false, true, true],
    );
    assert.deepEqual(
      [1, 2, 3, 4, 5].map((token) => isGiven(maze, token)),
      [true, false, true, true, false],
    );
  });
});

describe("held-out puzzles of a checkpoint's seed @slow", () => {
  it("are the first ones that its run held out", () => {
    for (const name of ["sudoku4", "maze7"]) {
      const preset = findPreset(name)!;
      const { set, unseen } = heldOut(name, preset.task, 11)!;
      assert.isTrue(unseen);
      const { validation } =
        name === "sudoku4"
          ? preset.splits(11)
          : // What the preset's splits begin with; the mazes for training take seconds.
            { validation: { inputs: mazesHeldOut() } };
      assert.deepEqual([...set.inputs], [...validation.inputs.subarray(0, set.inputs.length)]);
    }
  }).timeout(60_000);

  it("are freshly made if nothing says what the model was trained on", () => {
    for (const name of ["sudoku4", "sudoku6", "maze-7x7"]) {
      const task = findTask(name)!;
      const held = heldOut(name, task, null)!;
      assert.isFalse(held.unseen);
      for (let i = 0; i < 5; i++) {
        const row = (cells: Int32Array): Int32Array => cells.subarray(i * task.length, (i + 1) * task.length);
        assert.isTrue(task.check(row(held.set.inputs), row(held.set.labels)).solved);
      }
    }
    assert.isNull(heldOut("grid-2x2-v3", findTask("grid-2x2-v3")!, 1));
  });
});

function mazesHeldOut(): Int32Array {
  const records = generateMazes({ side: 7, count: 130, seed: 11, minLength: 9 });
  return Int32Array.from(records.flatMap(({ input }) => [...input]));
}
