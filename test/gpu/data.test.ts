import { assert } from "chai";
import { add, assign, compile, hostTensor, position, variable, type Program } from "../../engine/index.js";
import { modelConfig } from "../../hrm/model/config.js";
import { consecutiveBatch, destroyPuzzles, randomBatch, uploadPuzzles } from "../../hrm/puzzles/sampling.js";
import {
  generateMazes,
  generateSudoku,
  mazeTask,
  puzzleSet,
  sudoku4Grids,
  sudokuTask,
  type PuzzleSet,
  type SudokuSize,
  type Symmetry,
  type Task,
} from "../../hrm/puzzles/index.js";
import { randomPermutationsReference, shuffledIndexReference } from "../../kernels/permutation.js";
import { randomBitsReference } from "../../kernels/random.js";
import { testDevice } from "../support/device.js";
import { randomIntegers, uniform } from "../support/random.js";

interface HostBatch {
  readonly inputs: Int32Array;
  readonly labels: Int32Array;
  readonly identifiers: Int32Array;
}

/** Batches of consecutive steps, drawn on the GPU as training draws them. */
async function drawBatches(
  set: PuzzleSet,
  options: { seed: number; batch: number; steps: number; firstStep?: number; symmetry?: Symmetry | null },
): Promise<HostBatch[]> {
  const { seed, batch, steps, firstStep = 0, symmetry = null } = options;
  const device = await testDevice();
  const data = uploadPuzzles(device, set, "test", symmetry);
  const counter = variable(device, hostTensor(Uint32Array.of(seed, firstStep), [2]), "counter");
  const config = modelConfig({ batch_size: batch, seq_len: set.length });
  const program = await compile(device, {}, () => {
    const { inputs, labels, identifiers } = randomBatch(data, counter, config);
    assign(counter, add(counter, position([2], "u32")));
    return { inputs, labels, identifiers };
  });
  const batches: HostBatch[] = [];
  for (let step = 0; step < steps; step++) {
    await program.run({});
    batches.push(await readBatch(program));
  }
  program.destroy();
  destroyPuzzles(data);
  counter.destroy();
  return batches;
}

async function readBatch(program: Program): Promise<HostBatch> {
  const read = async (name: string): Promise<Int32Array> => (await program.read(name)) as Int32Array;
  return {
    inputs: await read("inputs"),
    labels: await read("labels"),
    identifiers: await read("identifiers"),
  };
}

/** Rows that can be told apart: row r is full of r, its label of -r, its identifier r + 1. */
function numbered(count: number, length: number): PuzzleSet {
  const row = (i: number): number => Math.floor(i / length);
  return {
    count,
    length,
    inputs: Int32Array.from({ length: count * length }, (_, i) => row(i)),
    labels: Int32Array.from({ length: count * length }, (_, i) => -row(i)),
    identifiers: Int32Array.from({ length: count }, (_, i) => i + 1),
  };
}

const word = (): number => Math.floor(uniform() * 2 ** 32);

describe("batches without replacement", () => {
  for (const [count, batch, steps] of [
    [1, 3, 2],
    [7, 3, 7],
    [10, 16, 5],
    [300, 64, 10],
    [40000, 32, 2],
  ] as const) {
    it(`${steps} batches of ${batch} from ${count} puzzles are the draws of the counter alone`, async () => {
      const seed = word();
      const firstStep = Math.floor(uniform() * 1000);
      const batches = await drawBatches(numbered(count, 3), { seed, batch, steps, firstStep });
      const rows = batches.flatMap(({ inputs }) => Array.from({ length: batch }, (_, b) => inputs[b * 3]!));
      const draws = rows.map((_, i) => firstStep * batch + i);
      assert.deepEqual(rows, [...shuffledIndexReference({ count: 0, size: count, stream: 0 }, seed, draws)]);
      batches.forEach(({ inputs, labels, identifiers }) => {
        assert.deepEqual(
          [...labels],
          Array.from(inputs, (row) => 0 - row),
        );
        assert.deepEqual(
          [...identifiers],
          Array.from({ length: batch }, (_, b) => inputs[b * 3]! + 1),
        );
      });
      // Whole epochs take every row once.
      const skipped = (count - ((firstStep * batch) % count)) % count;
      for (let from = skipped; from + count <= rows.length; from += count)
        assert.equal(new Set(rows.slice(from, from + count)).size, count);
    });
  }

  it("an epoch takes one puzzle of each group with all its rows; another epoch takes another puzzle", async () => {
    // Groups of 3, 1 and 2 puzzles with 1, 3 and 2 rows each: 3 + 3 + 4 = 10 rows, 6 draws an epoch.
    const groups = {
      puzzleIndices: Int32Array.of(0, 1, 2, 3, 6, 8, 10),
      groupIndices: Int32Array.of(0, 3, 4, 6),
    };
    const set = { ...numbered(10, 1), groups };
    const epochs = 40;
    const batches = await drawBatches(set, { seed: word(), batch: 6, steps: epochs });
    const taken = [new Set<number>(), new Set<number>()];
    for (const { inputs } of batches) {
      const rows = [...inputs].sort((a, b) => a - b);
      assert.isTrue(rows[0]! < 3);
      assert.deepEqual(rows.slice(1, 4), [3, 4, 5]);
      assert.include(["6,7", "8,9"], rows.slice(4).join());
      taken[0]!.add(rows[0]!);
      taken[1]!.add(rows[4]!);
    }
    // A puzzle of three is left out of 40 epochs once in 3 million runs.
    assert.deepEqual(
      taken.map((set) => set.size),
      [3, 2],
    );
  });

  it("in a group of puzzles of different sizes, the smaller puzzle comes round again", async () => {
    const groups = { puzzleIndices: Int32Array.of(0, 1, 4), groupIndices: Int32Array.of(0, 2) };
    const batches = await drawBatches({ ...numbered(4, 1), groups }, { seed: word(), batch: 3, steps: 20 });
    for (const { inputs } of batches)
      assert.include(["0,0,0", "1,2,3"], [...inputs].sort((a, b) => a - b).join());
  });

  it("tokens are packed into as few bits as hold them, and come back exactly", async () => {
    const device = await testDevice();
    for (const [limit, bits] of [
      [127, 8],
      [32767, 16],
      [2 ** 31 - 1, 32],
    ] as const) {
      const [count, length] = [13, 7];
      const inputs = randomIntegers(count * length, 0, limit);
      const labels = inputs.map((token, i) => (i % 5 === 0 ? -100 : token));
      inputs[0] = limit;
      const set = { count, length, inputs, labels, identifiers: new Int32Array(count) };
      const data = uploadPuzzles(device, set, "packed");
      assert.deepEqual([data.inputs.bits, data.inputs.table.size], [bits, Math.ceil((91 * bits) / 32)]);
      const config = modelConfig({ batch_size: 16, seq_len: length });
      const [first, last] = [0, 11].map((n) =>
        variable(device, hostTensor(Int32Array.of(n), [1]), "position"),
      );
      const program = await compile(device, {}, () => {
        const batch = consecutiveBatch(data, first!.tensor, last!, config);
        return { ...batch };
      });
      await program.run({});
      const read = await readBatch(program);
      assert.deepEqual([...read.inputs.subarray(0, 91)], [...inputs]);
      assert.deepEqual([...read.labels.subarray(0, 77)], [...labels.subarray(0, 77)]);
      assert.isTrue(read.labels.subarray(77).every((label) => label === -100));
      program.destroy();
      destroyPuzzles(data);
      for (const v of [first!, last!]) v.destroy();
    }
  });
});

/** Official shuffle_sudoku on the host, from the draws of the reference kernels. */
function sudokuImage(
  grid: ArrayLike<number>,
  size: SudokuSize,
  batch: number,
  b: number,
  key: readonly [number, number],
): Int32Array {
  const [boxRows, boxColumns] = size === 9 ? [3, 3] : size === 6 ? [2, 3] : [2, 2];
  const draw = (rows: number, items: number, stream: number, row: number): Int32Array =>
    randomPermutationsReference({ rows, items, stream }, key).subarray(row * items, (row + 1) * items);
  const lines = (block: number, stream: number): number[] => {
    const blocks = size / block;
    return [...draw(batch, blocks, stream, b)].flatMap((from, i) =>
      [...draw(batch * blocks, block, stream + 1, b * blocks + i)].map((inside) => from * block + inside),
    );
  };
  const [rows, columns] = [lines(boxRows, 3), lines(boxColumns, 5)];
  const flip = size !== 6 && randomBitsReference({ count: batch, stream: 7 }, key)[b]! % 2 === 1;
  const digits = draw(batch, size, 8, b);
  return Int32Array.from({ length: size * size }, (_, i) => {
    const [r, c] = [rows[Math.floor(i / size)]!, columns[i % size]!];
    const token = flip ? grid[c * size + r]! : grid[r * size + c]!;
    return token > 1 ? digits[token - 2]! + 2 : token;
  });
}

describe("augmentation while batches are gathered", () => {
  for (const size of [4, 6, 9] as const) {
    it(`${size}x${size} sudoku: images of puzzle and answer follow the official formula`, async () => {
      const task = sudokuTask(size);
      const set = puzzleSet(generateSudoku({ size, count: 5, seed: word() % 1000 }), task.length);
      set.labels[3] = -100;
      const [seed, batch, firstStep] = [word(), 11, 123];
      const [drawn] = await drawBatches(set, { seed, batch, steps: 1, firstStep, symmetry: task.symmetry });
      const rows = shuffledIndexReference(
        { count: batch, size: set.count, stream: 0 },
        seed,
        Array.from({ length: batch }, (_, b) => firstStep * batch + b),
      );
      rows.forEach((row, b) => {
        const [from, to] = [row * task.length, (row + 1) * task.length];
        const at = [b * task.length, (b + 1) * task.length] as const;
        for (const what of ["inputs", "labels"] as const)
          assert.deepEqual(
            [...drawn![what].subarray(...at)],
            [...sudokuImage(set[what].subarray(from, to), size, batch, b, [seed, firstStep])],
            `${what} of batch row ${b}`,
          );
      });
    });
  }

  const valid: [string, Task, PuzzleSet][] = [
    ["sudoku9", sudokuTask(9), puzzleSet(generateSudoku({ size: 9, count: 3, seed: 1 }), 81)],
    ["maze-9x9", mazeTask(9), puzzleSet(generateMazes({ side: 9, count: 3, seed: 1 }), 81)],
  ];
  for (const [name, task, set] of valid) {
    it(`${name}: images are valid puzzles of the classes that they come from`, async () => {
      const of = (batch: Pick<PuzzleSet, "inputs" | "labels">, i: number): [Int32Array, Int32Array] => [
        batch.inputs.subarray(i * 81, (i + 1) * 81),
        batch.labels.subarray(i * 81, (i + 1) * 81),
      ];
      const classes = [0, 1, 2].map((i) => task.classOf(...of(set, i)));
      const batches = await drawBatches(set, { seed: word(), batch: 12, steps: 2, symmetry: task.symmetry });
      const texts = new Set<string>();
      for (const batch of batches)
        for (let b = 0; b < 12; b++) {
          const [input, label] = of(batch, b);
          assert.isTrue(task.check(input, label).solved);
          assert.include(classes, task.classOf(input, label));
          texts.add(task.format(input));
        }
      assert.isAbove(texts.size, 6);
    });
  }

  it("the images of a 4x4 grid are its whole class, all about equally often", async () => {
    const task = sudokuTask(4);
    const grids = sudoku4Grids();
    const large = grids.find(
      (grid) => grids.filter((g) => task.classOf(g, g) === task.classOf(grid, grid)).length === 192,
    )!;
    const set = puzzleSet([{ source: "", input: large, label: large, rating: 0 }], 16);
    const batches = await drawBatches(set, { seed: word(), batch: 256, steps: 60, symmetry: task.symmetry });
    const counts = new Map<string, number>();
    for (const { inputs } of batches)
      for (let b = 0; b < 256; b++) {
        const text = task.format(inputs.subarray(b * 16, (b + 1) * 16));
        counts.set(text, (counts.get(text) ?? 0) + 1);
      }
    assert.equal(counts.size, 192);
    // Chi-squared with 191 degrees of freedom exceeds 300 once in a million runs.
    assert.isBelow(
      [...counts.values()].reduce((sum, n) => sum + (n - 80) ** 2 / 80, 0),
      300,
    );
  });
});
