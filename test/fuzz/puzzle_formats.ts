/** The puzzle formats: damage, and what must hold of everything that is still accepted. */
import { assert } from "chai";
import { readArcTasks } from "../../hrm/files/puzzles/arc.js";
import {
  loadPuzzles,
  readNpy,
  readPuzzleCsv,
  readPuzzleJsonl,
  writeDataset,
  writeNpy,
  writePuzzleCsv,
  writePuzzleJsonl,
} from "../../hrm/files/puzzles/index.js";
import {
  generateMazes,
  generateSudoku,
  gridTask,
  IGNORE_LABEL,
  mazeTask,
  puzzleSet,
  sudokuTask,
  type PuzzleSet,
  type Task,
} from "../../hrm/puzzles/index.js";
import { outcomeOf, pick, type FuzzFormat } from "./format.js";
import { mutate } from "./mutate.js";

/** What is accepted must be whole: sizes agree, tokens and identifiers are in range, groups cover all rows. */
function assertSound(set: PuzzleSet, task: Task): void {
  const { count, length, inputs, labels, identifiers, groups } = set;
  assert.isAbove(count, 0);
  assert.equal(length, task.length);
  assert.deepEqual(
    [inputs.length, labels.length, identifiers.length],
    [count * length, count * length, count],
  );
  assert.isTrue(inputs.every((token) => token >= 0 && token < task.vocabSize));
  assert.isTrue(labels.every((label) => label === IGNORE_LABEL || (label >= 0 && label < task.vocabSize)));
  assert.isTrue(identifiers.every((id) => id >= 0 && id < task.numPuzzleIdentifiers));
  if (!groups) return;
  const { puzzleIndices, groupIndices } = groups;
  assert.deepEqual([puzzleIndices[0], puzzleIndices.at(-1)], [0, count]);
  assert.deepEqual([groupIndices[0], groupIndices.at(-1)], [0, puzzleIndices.length - 1]);
  for (const indices of [puzzleIndices, groupIndices])
    assert.isTrue(indices.every((value, i) => i === 0 || value > indices[i - 1]!));
}

const text = (content: string): Uint8Array => new TextEncoder().encode(content);

function csvFormat(name: string, files: readonly { task: Task; bytes: Uint8Array }[]): FuzzFormat {
  return {
    name,
    attempt(random) {
      const { task, bytes } = pick(random, files);
      const damaged = mutate(bytes, random);
      return outcomeOf(() => assertSound(readPuzzleCsv(damaged, task), task));
    },
  };
}

const sudokuCsv = ([4, 6, 9] as const).map((size) => {
  const task = sudokuTask(size);
  return { task, bytes: text(writePuzzleCsv(generateSudoku({ size, count: 3, seed: 1 }), task)) };
});
const mazeCsv = [5, 8].map((side) => {
  const task = mazeTask(side);
  const mazes = generateMazes({ side, count: 3, seed: 1, minLength: side });
  return { task, bytes: text(writePuzzleCsv(mazes, task)) };
});

/** Version 1.0 headers in the forms that numpy writes, with 24 bytes behind them. */
const npyFiles = [
  writeNpy(
    Int32Array.from({ length: 24 }, (_, i) => i),
    [4, 6],
    "|u1",
  ),
  writeNpy(Int32Array.of(1, -2, 3, 4, 5, 6), [6], "<i4"),
  ...(
    [
      ["<i8", "(3,)"],
      [">i2", "(2, 6)"],
      ["|i1", "(2, 3, 4)"],
    ] as const
  ).map(([descr, shape]) => {
    const header = `{'descr': '${descr}', 'fortran_order': True, 'shape': ${shape}, }`.padEnd(117) + "\n";
    const prefix = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length, 0];
    return Uint8Array.from([...prefix, ...text(header), ...new Uint8Array(24)]);
  }),
];

const own = gridTask({ rows: 2, columns: 3, vocabSize: 9, numPuzzleIdentifiers: 4 });
const ownFile = text(
  writePuzzleJsonl(
    [0, 1, 2].map((k) => ({
      source: "",
      input: Int32Array.of(1, 2, 3, k, 5, 6),
      label: Int32Array.of(6, 5, k === 1 ? IGNORE_LABEL : 4, 3, 2, 1),
      rating: 0,
      identifier: k,
    })),
    own,
  ),
);

/** Folders as maps: one with groups and ignored labels, one plain. */
const folders = [
  writeDataset(
    {
      ...puzzleSet(generateSudoku({ size: 4, count: 6, seed: 2 }), 16),
      groups: { puzzleIndices: Int32Array.of(0, 1, 3, 4, 5, 6), groupIndices: Int32Array.of(0, 2, 3, 5) },
    },
    sudokuTask(4),
  ),
  writeDataset(puzzleSet(generateMazes({ side: 5, count: 4, seed: 2, minLength: 4 }), 25), mazeTask(5)),
];

function assertWhole({ shape, values }: ReturnType<typeof readNpy>): void {
  assert.equal(
    values.length,
    shape.reduce((a, b) => a * b, 1),
  );
}

async function openFolder(files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const read = (path: string): Promise<Uint8Array | null> => Promise.resolve(files.get(path) ?? null);
  const { set, task } = await loadPuzzles({ kind: "folder", name: "folder", read }, { split: "train" });
  assertSound(set, task);
}

function openJsonl(bytes: Uint8Array, wanted?: Task): void {
  const { set, task } = readPuzzleJsonl(bytes, wanted);
  assertSound(set, task);
}

/** Two tasks, of which one has its solutions in the second file. */
const arcFiles = [
  {
    a: {
      train: [
        {
          input: [
            [0, 1],
            [2, 3],
          ],
          output: [[4]],
        },
      ],
      test: [{ input: [[5, 6, 7]], output: [[8], [9]] }],
    },
    b: { train: [{ input: [[1]], output: [[2]] }], test: [{ input: [[3, 3]] }] },
  },
  { b: [[[4, 4]]] },
].map((json) => text(JSON.stringify(json)));

function openArc(files: readonly Uint8Array[]): void {
  const { tasks } = readArcTasks(files.map((bytes, i) => ({ name: `${i}.json`, bytes })));
  assert.isAbove(tasks.length, 0);
  for (const { train, test } of tasks) {
    assert.isAbove(Math.min(train.length, test.length), 0);
    for (const { input, output } of [...train, ...test])
      for (const { rows, columns, cells } of [input, ...(output ? [output] : [])]) {
        assert.isTrue(rows >= 1 && rows <= 30 && columns >= 1 && columns <= 30);
        assert.equal(cells.length, rows * columns);
        assert.isTrue(cells.every((colour) => colour < 10));
      }
  }
}

/** Reads every file that is damaged below, as it is before. */
export async function readUndamaged(): Promise<void> {
  for (const { task, bytes } of [...sudokuCsv, ...mazeCsv]) assertSound(readPuzzleCsv(bytes, task), task);
  for (const file of npyFiles) assertWhole(readNpy(file));
  for (const files of folders) await openFolder(files);
  for (const wanted of [own, undefined]) openJsonl(ownFile, wanted);
  openArc(arcFiles);
}

/** Every puzzle format, by name. */
export const puzzleFormats: readonly FuzzFormat[] = [
  csvFormat("sudoku-csv", sudokuCsv),
  csvFormat("maze-csv", mazeCsv),
  {
    name: "npy",
    attempt(random) {
      const damaged = mutate(pick(random, npyFiles), random);
      return outcomeOf(() => assertWhole(readNpy(damaged)));
    },
  },
  {
    name: "dataset-folder",
    attempt(random) {
      const files: Map<string, Uint8Array> = new Map(pick(random, folders));
      const names = [...files.keys()];
      for (let n = 1 + random.below(2); n > 0; n--) {
        const name = pick(random, names);
        if (random.below(20) === 0) files.delete(name);
        else files.set(name, mutate(files.get(name) ?? new Uint8Array(), random));
      }
      return outcomeOf(() => openFolder(files));
    },
  },
  {
    name: "jsonl",
    attempt(random) {
      const damaged = mutate(ownFile, random);
      const wanted = random.below(2) === 0 ? own : undefined;
      return outcomeOf(() => openJsonl(damaged, wanted));
    },
  },
  {
    name: "arc",
    attempt(random) {
      const at = random.below(arcFiles.length);
      const damaged = arcFiles.map((bytes, i) => (i === at ? mutate(bytes, random) : bytes));
      return outcomeOf(() => openArc(damaged));
    },
  },
];
