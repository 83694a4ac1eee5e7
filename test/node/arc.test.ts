import { existsSync, readFileSync } from "node:fs";
import { assert } from "chai";
import { readArcTasks, writeArcTasks } from "../../hrm/files/puzzles/arc.js";
import { FileFormatError, readDataset, writeDataset } from "../../hrm/files/puzzles/index.js";
import { buildArcDataset } from "../../hrm/puzzles/arc/dataset.js";
import {
  ARC,
  cropCanvas,
  gridKey,
  toCanvas,
  type ArcGrid,
  type ArcTask,
} from "../../hrm/puzzles/arc/grid.js";
import {
  imageName,
  imageOf,
  pairClass,
  parseImageName,
  preimageOf,
  randomImage,
  turned,
  type ArcImage,
} from "../../hrm/puzzles/arc/image.js";
import { hostRandom, untrainedIdentifiers } from "../../hrm/puzzles/index.js";
import { testSeed } from "../support/platform.js";

const text = (json: unknown): Uint8Array =>
  new TextEncoder().encode(typeof json === "string" ? json : JSON.stringify(json));
const file = (json: unknown, name = "tasks.json") => ({ name, bytes: text(json) });
const grid = (...rows: number[][]): ArcGrid => ({
  rows: rows.length,
  columns: rows[0]!.length,
  cells: Uint8Array.from(rows.flat()),
});
const pair = (input: number[][], output: number[][]) => ({ input, output });
const random = (name: string) => hostRandom(testSeed, name);

function randomGrid(draw: ReturnType<typeof hostRandom>, side: number = ARC.side): ArcGrid {
  const [rows, columns] = [1 + draw.below(side), 1 + draw.below(side)];
  return { rows, columns, cells: Uint8Array.from({ length: rows * columns }, () => draw.below(10)) };
}

describe("ARC files", () => {
  const A = { train: [pair([[1, 2]], [[2], [1]])], test: [pair([[3]], [[4]])] };
  const B = { train: [pair([[5]], [[6]])], test: [{ input: [[7]] }, { input: [[8, 9]] }] };

  it("one task, many tasks, and challenges with solutions apart are read", () => {
    const one = readArcTasks([file(A, "folder/0a1b.json")]);
    assert.deepEqual(one.tasks, [
      {
        id: "0a1b",
        train: [{ input: grid([1, 2]), output: grid([2], [1]) }],
        test: [{ input: grid([3]), output: grid([4]) }],
      },
    ]);
    const { tasks, unmatched } = readArcTasks([
      file({ b: [[[1]], [[2, 2]]], gone: [[[1]]] }, "solutions.json"),
      file({ a: A, b: B }, "challenges.json"),
    ]);
    assert.deepEqual([tasks.map(({ id }) => id), unmatched], [["a", "b"], ["gone"]]);
    assert.deepEqual(
      tasks[1]!.test.map(({ output }) => output),
      [grid([1]), grid([2, 2])],
    );
    assert.isNull(readArcTasks([file({ b: B })]).tasks[0]!.test[0]!.output);
    // A task may have the name of a key.
    assert.equal(readArcTasks([file({ train: A })]).tasks[0]!.id, "train");
  });

  it("what is written is read again", () => {
    const { tasks } = readArcTasks([file({ a: A, b: B })]);
    assert.deepEqual(readArcTasks([file(writeArcTasks(tasks))]).tasks, tasks);
  });

  const refused: [string, Parameters<typeof readArcTasks>[0], RegExp][] = [
    ["no JSON", [file("{oops")], /not JSON/],
    ["a list", [file([A])], /expected an object/],
    ["nothing", [file({})], /0 tasks/],
    ["solutions alone", [file({ a: [[[1]]] })], /no tasks/],
    ["a task that is none", [file({ a: 3 })], /task "a": 3; expected train and test/],
    ["no tests", [file({ train: A.train })], /test is nothing; expected a list/],
    ["no demonstrations", [file({ a: { ...A, train: [] } })], /train is a list of 0/],
    ["a demonstration without output", [file({ a: { ...A, train: [{ input: [[1]] }] } })], /no output/],
    ["a colour of 10", [file({ a: { ...A, test: [pair([[1, 10]], [[1]])] } })], /row 1, column 2 is 10/],
    ["a fraction", [file({ a: { ...A, test: [pair([[0.5]], [[1]])] } })], /is 0.5/],
    [
      "a ragged grid",
      [file({ a: { ...A, test: [pair([[1, 2], [1]], [[1]])] } })],
      /row 2 is a list of 1; expected 2/,
    ],
    ["31 rows", [file({ a: { ...A, test: [pair(Array<number[]>(31).fill([1]), [[1]])] } })], /a list of 31/],
    ["a task twice", [file({ a: A }, "x.json"), file({ a: A }, "y.json")], /a second task.*y\.json/],
    ["too few solutions", [file({ b: B }), file({ b: [[[1]]] })], /1 solutions of 2 tests/],
    ["another solution", [file({ a: A }), file({ a: [[[5]]] })], /differs from the output/],
    ["the name of an image", [file({ x_t3_0123456789: A })], /looks? like the name of an augmented/],
    ["gzip", [{ name: "a.gz", bytes: Uint8Array.of(0x1f, 0x8b, 8) }], /gzip/],
  ];
  for (const [what, files, message] of refused)
    it(`refuses ${what}`, () => assert.throws(() => readArcTasks(files), FileFormatError, message));

  it("all published tasks beside the repository are read, and written as they are", function () {
    const folder = "../shared/data/arc";
    if (!existsSync(folder)) {
      console.log(`      skipped: no ${folder}`);
      this.skip();
    }
    for (const [name, count] of [
      ["arc-agi-2-evaluation", 100],
      ["conceptarc", 160],
    ] as const) {
      const bytes = new Uint8Array(readFileSync(`${folder}/${name}.json`));
      const { tasks } = readArcTasks([{ name, bytes }]);
      assert.equal(tasks.length, count);
      const [own, published] = [writeArcTasks(tasks), new TextDecoder().decode(bytes)].map((json) =>
        JSON.stringify(JSON.parse(json)),
      );
      assert.isTrue(own === published, name);
    }
  });
});

describe("ARC grids and their images", () => {
  /** Checks that a map there and back is the identity on random grids. */
  const roundTrips = (count: number, back: (image: ArcGrid, by: ArcImage) => ArcGrid): void => {
    const draw = random("arc round trips");
    for (let i = 0; i < count; i++) {
      const original = randomGrid(draw, i % 10 === 0 ? ARC.side : 6);
      const image = randomImage(draw);
      if (gridKey(back(imageOf(original, image), image)) !== gridKey(original))
        throw new Error(`grid ${i} is not the same after ${imageName("", image)} and back`);
    }
  };

  it("10,000 random grids come back from their images; a map that is no inverse is found out", () => {
    roundTrips(10_000, preimageOf);
    assert.throws(() => roundTrips(1000, imageOf), /is not the same/);
    assert.throws(() => roundTrips(1000, (grid, { colours }) => preimageOf(grid, { dihedral: 0, colours })));
    assert.throws(() =>
      roundTrips(1000, (grid, { dihedral }) =>
        preimageOf(grid, { dihedral, colours: Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9) }),
      ),
    );
  });

  it("10,000 random grids come back from the canvas, at any place by the row and column of the corner", () => {
    const draw = random("arc canvases");
    for (let i = 0; i < 10_000; i++) {
      const side = i % 20 === 0 ? ARC.side : 8;
      const original = randomGrid(draw, side);
      if (gridKey(cropCanvas(toCanvas(original, side), side)!) !== gridKey(original))
        throw new Error(`grid ${i} is not the same after the canvas and back`);
      // Somewhere else, the canvas is the same one moved.
      const [row, column] = [draw.below(side - original.rows + 1), draw.below(side - original.columns + 1)];
      const moved = toCanvas(original, side, row, column);
      const { rows, columns, cells } = original;
      let colours = 0;
      for (let cell = 0; cell < moved.length; cell++) {
        if (moved[cell]! < 2) continue;
        const [r, c] = [Math.floor(cell / side) - row, (cell % side) - column];
        if (moved[cell] !== cells[r * columns + c]! + 2 || c < 0 || c >= columns || r >= rows)
          throw new Error(`grid ${i} is another one at row ${row}, column ${column}`);
        colours++;
      }
      if (colours !== cells.length) throw new Error(`grid ${i} lost colours`);
    }
  });

  it("the canvas has EOS below and beside the grid, but not at the corner", () => {
    assert.deepEqual([...toCanvas(grid([0, 9]), 4, 1, 1)], [0, 0, 0, 0, 0, 2, 11, 1, 0, 1, 1, 0, 0, 0, 0, 0]);
    assert.deepEqual([...toCanvas(grid([3, 4]), 2)], [5, 6, 1, 1]);
    assert.throws(() => toCanvas(grid([1, 2]), 2, 0, 1), /inside a canvas of 2 x 2/);
  });

  it("the crop is the largest rectangle of colours at the corner", () => {
    // 4 x 1 and 2 x 2 are equally large: the flatter one wins.
    const canvas = [2, 3, 1, 0, 4, 5, 0, 0, 6, 1, 9, 9, 7, 0, 9, 9];
    assert.equal(gridKey(cropCanvas(canvas, 4)!), gridKey(grid([0, 1], [2, 3])));
    assert.isNull(cropCanvas([1, 2, 2, 2], 2));
    assert.isNull(cropCanvas([12, 2, 2, 2], 2));
  });

  it("rotations and reflections have the official numbers", () => {
    const g = grid([1, 2, 3], [4, 5, 6]);
    const expected = [
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      [
        [3, 6],
        [2, 5],
        [1, 4],
      ],
      [
        [6, 5, 4],
        [3, 2, 1],
      ],
      [
        [4, 1],
        [5, 2],
        [6, 3],
      ],
      [
        [3, 2, 1],
        [6, 5, 4],
      ],
      [
        [4, 5, 6],
        [1, 2, 3],
      ],
      [
        [1, 4],
        [2, 5],
        [3, 6],
      ],
      [
        [6, 3],
        [5, 2],
        [4, 1],
      ],
    ];
    expected.forEach((rows, k) => assert.deepEqual(turned(g, k), grid(...rows), `${k}`));
  });

  it("names tell the image; official names of both builders are read", () => {
    const image = { dihedral: 3, colours: Uint8Array.of(0, 2, 1, 3, 4, 5, 6, 7, 8, 9) };
    assert.equal(imageName("007b", image), "007b_t3_0213456789");
    for (const name of ["007b_t3_0213456789", "007b|||t3|||0213456789"])
      assert.deepEqual(parseImageName(name), { id: "007b", image });
    for (const name of ["007b", "a_b", "a_t8_0213456789", "a_t3_0223456789"])
      assert.deepEqual(parseImageName(name), { id: name, image: null });
  });

  it("the class of a pair is that of its images, and of no other pair", () => {
    const draw = random("arc classes");
    for (let i = 0; i < 200; i++) {
      const own = { input: randomGrid(draw, 5), output: randomGrid(draw, 5) };
      const image = randomImage(draw);
      const of = (g: ArcGrid) => imageOf(g, image);
      assert.equal(pairClass({ input: of(own.input), output: of(own.output) }), pairClass(own));
      // Black is not another colour.
      if (!own.input.cells.includes(9) || !own.input.cells.includes(0)) continue;
      const swapped = { ...own.input, cells: own.input.cells.map((c) => (c === 0 ? 9 : c === 9 ? 0 : c)) };
      if (gridKey(swapped) !== gridKey(own.input) && own.input.cells.length > 8)
        assert.notEqual(pairClass({ input: swapped, output: own.output }), pairClass(own));
    }
  });
});

describe("ARC data sets", () => {
  const draw = random("arc data sets");
  const task = (id: string, tests = 1): ArcTask => {
    const some = (count: number) =>
      Array.from({ length: count }, () => ({ input: randomGrid(draw, 6), output: randomGrid(draw, 6) }));
    return { id, train: some(3), test: some(tests) };
  };
  const learned = [task("l1"), task("l2", 2)];
  const tested = [task("t1", 2), task("t2")];
  const options = { augmentations: 5, seed: 3, side: 8 };
  const built = buildArcDataset({ learned, tested }, options);

  it("groups hold a task and its images, each with its own identifier and all its pairs", () => {
    const { train, test, identifiers } = built;
    assert.deepEqual([train.count, test!.count, identifiers.length], [6 * (4 + 5 + 3 + 3), 6 * 3, 1 + 4 * 6]);
    assert.deepEqual([...train.groups!.groupIndices], [0, 6, 12, 18, 24]);
    assert.deepEqual([identifiers[0], identifiers[1], identifiers[7]], ["<blank>", "l1", "l2"]);
    assert.equal(new Set(identifiers).size, identifiers.length);
    assert.deepEqual(untrainedIdentifiers(test!, train), { used: 12, untrained: 0 });
  });

  it("what an image says of a pair is that pair, once it is mapped back; tests stay at the corner", () => {
    const { test, identifiers } = built;
    const inputs = [...tested[0]!.test, ...tested[1]!.test].map(({ input }) => gridKey(input));
    const outputs = [...tested[0]!.test, ...tested[1]!.test].map(({ output }) => gridKey(output!));
    for (let row = 0; row < test!.count; row++) {
      const { image } = parseImageName(identifiers[test!.identifiers[row]!]!);
      const at = (of: Int32Array) => cropCanvas(of.subarray(row * 64, (row + 1) * 64), 8)!;
      const back = (g: ArcGrid) => gridKey(image ? preimageOf(g, image) : g);
      const k = inputs.indexOf(back(at(test!.inputs)));
      assert.isAtLeast(k, 0);
      assert.equal(back(at(test!.labels)), outputs[k]);
    }
  });

  it("training is translated, input and output alike, except one example of each puzzle", () => {
    const { train } = built;
    const corner = (of: Int32Array, row: number): number =>
      of.subarray(row * 64, (row + 1) * 64).findIndex((t) => t >= 2);
    let moved = 0;
    for (let row = 0; row < train.count; row++) {
      assert.equal(corner(train.inputs, row), corner(train.labels, row));
      moved += Number(corner(train.inputs, row) > 0);
    }
    assert.isAbove(moved, 10);
    const { puzzleIndices } = train.groups!;
    for (let p = 0; p + 1 < puzzleIndices.length; p++) {
      const rows = Array.from(
        { length: puzzleIndices[p + 1]! - puzzleIndices[p]! },
        (_, i) => puzzleIndices[p]! + i,
      );
      assert.isTrue(rows.some((row) => corner(train.inputs, row) === 0));
    }
  });

  it("a test never reaches training: not as itself, not as an image in another task", () => {
    const hidden = tested[0]!.test[0]!;
    const image = randomImage(draw);
    const copy = { input: imageOf(hidden.input, image), output: imageOf(hidden.output!, image) };
    const leaking = { ...learned[0]!, train: [...learned[0]!.train, copy] };
    const only: ArcTask = { id: "only", train: [copy], test: [hidden] };
    const found = buildArcDataset({ learned: [leaking, only], tested }, options);
    assert.deepEqual([found.leaks, found.empty], [3, ["only"]]);
    const classes = new Set(tested.flatMap(({ test }) => test.map(pairClass)));
    const { train } = found;
    for (let row = 0; row < train.count; row++) {
      const at = (of: Int32Array): ArcGrid => {
        const cells = of.subarray(row * 64, (row + 1) * 64);
        const start = cells.findIndex((token) => token >= 2);
        const moved = Int32Array.from(cells, (_, i) => cells[i + start] ?? 0);
        return cropCanvas(moved, 8)!;
      };
      assert.isFalse(classes.has(pairClass({ input: at(train.inputs), output: at(train.labels) })));
    }
  });

  it("a symmetric task has fewer images; large tasks and impossible wishes are named", () => {
    const black: ArcTask = {
      id: "black",
      train: [{ input: grid([0]), output: grid([0, 0], [0, 0]) }],
      test: [{ input: grid([0, 0], [0, 0]), output: null }],
    };
    const found = buildArcDataset({ learned: [], tested: [black] }, options);
    assert.deepEqual([found.identifiers, found.fewImages], [["<blank>", "black"], 1]);
    assert.isTrue(found.test!.labels.every((label) => label < 0));
    const large = { ...learned[0]!, id: "large", train: [{ input: randomGrid(draw, 1), output: toGrid(9) }] };
    assert.deepEqual(buildArcDataset({ learned: [large], tested }, options).tooLarge, ["large"]);
    assert.throws(
      () => buildArcDataset({ learned: [large], tested: [] }, options),
      /nothing is left to learn/,
    );
    assert.throws(
      () => buildArcDataset({ learned, tested: learned }, options),
      /two tasks with the name "l1"/,
    );
    assert.throws(
      () => buildArcDataset({ learned, tested }, { augmentations: 10 ** 6, seed: 0 }),
      /16 pairs? .* bytes; .* choose at most \d+ images|18 pairs/,
    );
  });

  it("the folder that is written is read back equal, and the seed decides it", async () => {
    const { train, identifiers } = built;
    const files = writeDataset(train, { vocabSize: ARC.vocabSize, numPuzzleIdentifiers: identifiers.length });
    const read = await readDataset((name) => Promise.resolve(files.get(name) ?? null));
    assert.deepEqual(read.set, train);
    assert.equal(read.metadata.ignore_label_id, 0);
    assert.deepEqual(buildArcDataset({ learned, tested }, options), built);
    assert.notDeepEqual(buildArcDataset({ learned, tested }, { ...options, seed: 4 }).train, train);
  });
});

const toGrid = (side: number): ArcGrid => ({ rows: side, columns: side, cells: new Uint8Array(side * side) });
