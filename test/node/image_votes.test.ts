/** Images of puzzles, there and back, and the votes on their answers. */
import { expect } from "chai";
import { UsageError } from "../../engine/errors.js";
import { puzzleSet } from "../../hrm/puzzles/puzzle_set.js";
import { generateSudoku } from "../../hrm/puzzles/tasks/sudoku_generator.js";
import { sudokuTask } from "../../hrm/puzzles/tasks/sudoku.js";
import type { Symmetry } from "../../hrm/puzzles/tasks/symmetry.js";
import {
  chooseAnswers,
  imageOf,
  imagesOf,
  preimageOf,
  withAllImages,
} from "../../hrm/training/image_votes.js";
import type { Answers } from "../../hrm/training/answers.js";
import { testSeed } from "../support/platform.js";
import { randomIntegers } from "../support/random.js";

const SYMMETRIES: Record<string, Symmetry> = {
  "4x4 Sudoku": { kind: "sudoku", size: 4, boxRows: 2, boxColumns: 2 },
  "6x6 Sudoku": { kind: "sudoku", size: 6, boxRows: 2, boxColumns: 3 },
  "9x9 Sudoku": { kind: "sudoku", size: 9, boxRows: 3, boxColumns: 3 },
  squares: { kind: "dihedral", side: 5 },
};

describe("images of puzzles", () => {
  for (const [name, symmetry] of Object.entries(SYMMETRIES))
    it(`are mapped back to the puzzle, and differ: ${name}`, () => {
      const [length, tokens] =
        symmetry.kind === "sudoku" ? [symmetry.size ** 2, symmetry.size + 2] : [symmetry.side ** 2, 6];
      const images = imagesOf(symmetry, 8, testSeed);
      const cells = randomIntegers(length, 0, tokens);
      cells[3] = -100;
      for (const image of images)
        expect([...preimageOf(imageOf(cells, image), image)]).to.deep.equal([...cells]);
      expect([...imageOf(cells, images[0]!)]).to.deep.equal([...cells]);
      expect(new Set(images.map((image) => imageOf(cells, image).join())).size).to.equal(8);
    });

  it("of a Sudoku obey its rules with their answers", () => {
    const task = sudokuTask(9);
    const set = puzzleSet(generateSudoku({ size: 9, count: 3, seed: testSeed }), task.length);
    const all = withAllImages(set, imagesOf(task.symmetry!, 5, testSeed));
    expect(all.count).to.equal(15);
    for (let row = 0; row < 15; row++) {
      const of = (cells: Int32Array) => cells.subarray(row * 81, (row + 1) * 81);
      expect(task.check(of(all.inputs), of(all.labels)).solved).to.equal(true);
    }
    expect([...all.inputs.subarray(5 * 81, 6 * 81)]).to.deep.equal([...set.inputs.subarray(81, 162)]);
  });

  it("are refused where there are not so many", () => {
    expect(() => imagesOf(SYMMETRIES["squares"]!, 9, 0)).to.throw(
      UsageError,
      "got 9 images; expected at most 8",
    );
  });
});

describe("votes on images", () => {
  const symmetry: Symmetry = { kind: "dihedral", side: 2 };
  const images = imagesOf(symmetry, 3, 0);
  const [a, b] = [Int32Array.of(1, 2, 3, 4), Int32Array.of(1, 2, 3, 5)];

  /** Answers of one puzzle for each list: for each image and try the answer, in the puzzle's own frame, and q_halt. */
  function answersOf(
    puzzles: readonly (readonly (readonly [Int32Array, number])[])[],
    tries: number,
  ): Answers {
    const rows = puzzles.flat();
    const tokens = new Int32Array(rows.length * 4);
    rows.forEach(([answer], row) =>
      tokens.set(imageOf(answer, images[Math.floor((row % (3 * tries)) / tries)]!), row * 4),
    );
    const qHalt = Float32Array.from(rows, ([, q]) => q);
    return {
      ...{
        puzzles: rows.length,
        segments: 1,
        tokens,
        qHalt,
        qAnswer: qHalt,
        qContinue: new Float32Array(rows.length),
      },
      ...{ ran: new Int32Array(rows.length).fill(1), right: new Uint8Array(rows.length) },
      ...{ lost: new Uint8Array(rows.length), computed: rows.length },
    };
  }

  it("are won by the answer of most images, mapped back, else by the larger q_halt", () => {
    const all = answersOf(
      [
        [
          [a, -1],
          [b, 5],
          [a, -2],
        ],
        [
          [a, 0],
          [b, 3],
          [Int32Array.of(4, 4, 4, 4), 1],
        ],
      ],
      1,
    );
    const { rows, answers, first, agreement } = chooseAnswers(all, images, 1);
    expect(rows).to.deep.equal([0, 1]);
    expect([...answers.tokens]).to.deep.equal([...a, ...b]);
    expect([...answers.qHalt]).to.deep.equal([-1, 3]);
    expect([...first.tokens]).to.deep.equal([...a, ...a]);
    expect(agreement).to.be.closeTo((2 / 3 + 1 / 3) / 2, 1e-12);
  });

  it("count of each image the try with the largest finite q_halt", () => {
    const all = answersOf(
      [
        [
          [a, 1],
          [b, 2],
          [b, 9],
          [a, 8],
          [b, NaN],
          [a, 0],
        ],
      ],
      2,
    );
    all.lost[2] = 1;
    const { answers } = chooseAnswers(all, images, 2);
    // The tries that count answer b, a and a.
    expect([...answers.tokens]).to.deep.equal([...a]);
  });

  it("leave out puzzles of which an image did not stop", () => {
    const all = answersOf(
      [[a, a, a].map((of) => [of, 1] as const), [b, b, b].map((of) => [of, 1] as const)],
      1,
    );
    all.ran[1] = 0;
    const { rows, answers } = chooseAnswers(all, images, 1);
    expect(rows).to.deep.equal([1]);
    expect([...answers.tokens]).to.deep.equal([...b]);
  });
});
