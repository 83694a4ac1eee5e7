import { assert } from "chai";
import { UsageError } from "../../engine/index.js";
import { generateSudoku, mazeTask, puzzleSet, sudokuTask } from "../../hrm/puzzles/index.js";
import { generateMazes } from "../../hrm/puzzles/tasks/maze_generator.js";
import { withImages } from "../../hrm/puzzles/images_on_host.js";
import {
  dihedralClass,
  dihedralSources,
  sudokuClass,
  type SudokuSymmetry,
} from "../../hrm/puzzles/tasks/symmetry.js";

describe("images made on the host", () => {
  for (const size of [4, 6, 9] as const)
    it(`are Sudoku ${size}x${size} of the same class with the same answers, in groups`, () => {
      const task = sudokuTask(size);
      const symmetry = task.symmetry as SudokuSymmetry;
      const records = generateSudoku({ size, count: 3, seed: 2 });
      const set = withImages(puzzleSet(records, task.length), task.symmetry!, 20, 1);
      assert.equal(set.count, 63);
      assert.deepEqual([...set.groups!.groupIndices], [0, 21, 42, 63]);
      const row = (values: Int32Array, i: number): Int32Array =>
        values.slice(i * task.length, (i + 1) * task.length);
      const seen = new Set<string>();
      for (let i = 0; i < 63; i++) {
        const { input, label } = records[Math.floor(i / 21)]!;
        const [image, answer] = [row(set.inputs, i), row(set.labels, i)];
        if (i % 21 === 0) assert.deepEqual([image, answer], [input, label]);
        // Each image is a puzzle whose answer obeys the rules and keeps its givens.
        assert.isTrue(task.check(image, answer).solved, `image ${i}`);
        assert.equal(sudokuClass(answer, symmetry), sudokuClass(label, symmetry));
        seen.add(image.join());
      }
      assert.isAbove(seen.size, 40);
      assert.deepEqual(withImages(puzzleSet(records, task.length), task.symmetry!, 20, 1), set);
    });

  it("are the 8 images of a square, and ignored cells stay ignored", () => {
    const task = mazeTask(5);
    const plain = puzzleSet(generateMazes({ side: 5, count: 2, seed: 1, minLength: 4 }), 25);
    plain.labels[3] = -100;
    const set = withImages(plain, task.symmetry!, 100, 1);
    assert.equal(set.count, 16);
    const sources = dihedralSources(5);
    for (let i = 0; i < 8; i++)
      assert.equal(
        dihedralClass(set.inputs.slice(i * 25, i * 25 + 25), sources),
        dihedralClass(plain.inputs.slice(0, 25), sources),
      );
    assert.equal(set.labels.filter((label) => label === -100).length, 8);
    assert.throws(
      () => withImages(set, task.symmetry!, 1, 1),
      UsageError,
      /in groups already|puzzles in groups/,
    );
    assert.isUndefined(withImages(plain, task.symmetry!, 0, 1).groups);
  });
});
