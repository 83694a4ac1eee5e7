import { assert } from "chai";
import {
  loadPuzzles,
  blobSource,
  FileFormatError,
  readDataset,
  SourceError,
  urlSource,
  writeDataset,
  writeNpy,
  writePuzzleCsv,
  type FolderSource,
} from "../../hrm/files/puzzles/index.js";
import {
  generateSudoku,
  puzzleSet,
  sudokuTask,
  taskOfShape,
  type PuzzleSet,
} from "../../hrm/puzzles/index.js";
import { sharedData } from "../support/shared_data.js";

type Files = Map<string, Uint8Array>;

const reader = (files: Files) => (name: string) => Promise.resolve(files.get(name) ?? null);
const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** Three groups of 2, 1 and 2 puzzles; the second puzzle has two examples. */
const grouped: PuzzleSet = {
  count: 6,
  length: 2,
  inputs: Int32Array.of(1, 2, 3, 1, 2, 3, 1, 1, 2, 2, 3, 3),
  labels: Int32Array.of(1, -100, 2, 2, 3, 3, 1, 2, -100, 2, 1, 3),
  identifiers: Int32Array.of(0, 1, 1, 0, 2, 2),
  groups: { puzzleIndices: Int32Array.of(0, 1, 3, 4, 5, 6), groupIndices: Int32Array.of(0, 2, 3, 5) },
};
const written = (): Files => new Map(writeDataset(grouped, { vocabSize: 4, numPuzzleIdentifiers: 3 }));

async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => assert.fail("nothing was thrown"),
    (error: Error) => error,
  );
}

describe("official data set folders", () => {
  const sample = (context: Mocha.Context): FolderSource => {
    sharedData(context, "README.md");
    return {
      kind: "folder",
      name: "sample",
      read: (path) =>
        Promise.resolve().then(() => {
          try {
            return sharedData(context, `official-format/sudoku-easy-60-aug-3/${path}`);
          } catch {
            return null;
          }
        }),
    };
  };

  it("reads the sample: 60 groups of 4 valid puzzles, and 40 ungrouped ones for the test", async function () {
    const train = await loadPuzzles(sample(this), { split: "train" });
    assert.equal(train.task.name, "sudoku9");
    assert.equal(train.set.count, 240);
    assert.deepEqual(
      [...train.set.groups!.groupIndices],
      Array.from({ length: 61 }, (_, g) => 4 * g),
    );
    const test = await loadPuzzles(sample(this), { split: "test" });
    assert.equal(test.set.count, 40);
    assert.isUndefined(test.set.groups);
    for (const { set, task } of [train, test])
      for (let i = 0; i < set.count; i++) {
        const range = [i * 81, (i + 1) * 81] as const;
        assert.isTrue(task.check(set.inputs.subarray(...range), set.labels.subarray(...range)).solved);
      }
  });

  it("augmentations in one group of the sample are one symmetry class", async function () {
    const { set, task } = await loadPuzzles(sample(this), { split: "train" });
    for (const group of [0, 17, 59]) {
      const keys = [0, 1, 2, 3].map((k) => {
        const grid = set.labels.subarray((4 * group + k) * 81, (4 * group + k + 1) * 81);
        return task.classOf(grid, grid);
      });
      assert.equal(new Set(keys).size, 1);
    }
  });

  it("what is written reads back: groups, identifiers, ignored labels", async () => {
    assert.deepEqual((await readDataset(reader(written()))).set, grouped);
    const records = generateSudoku({ size: 4, count: 4, seed: 1 });
    const plain = puzzleSet(records, 16);
    const files = writeDataset(plain, { vocabSize: 6, numPuzzleIdentifiers: 1 });
    assert.deepEqual((await readDataset(reader(files))).set, plain);
    const zeros = { ...plain, labels: plain.labels.map((label, i) => (i === 3 ? -100 : i % 2 ? label : 0)) };
    const odd = writeDataset(zeros, { vocabSize: 6, numPuzzleIdentifiers: 1 });
    assert.deepEqual((await readDataset(reader(odd))).set, zeros);
  });

  it("several sets follow one another with their groups", async () => {
    const files = written();
    const metadata = JSON.parse(new TextDecoder().decode(files.get("dataset.json"))) as object;
    for (const [name, bytes] of [...files])
      if (name.startsWith("all__")) files.set(name.replace("all", "more"), bytes);
    files.set("dataset.json", json({ ...metadata, sets: ["all", "more"], total_groups: 6 }));
    const { set } = await readDataset(reader(files));
    assert.equal(set.count, 12);
    assert.deepEqual([...set.groups!.puzzleIndices], [0, 1, 3, 4, 5, 6, 7, 9, 10, 11, 12]);
    assert.deepEqual([...set.groups!.groupIndices], [0, 2, 3, 5, 7, 8, 10]);
    assert.deepEqual([...set.inputs], [...grouped.inputs, ...grouped.inputs]);
    assert.deepEqual([...set.identifiers], [...grouped.identifiers, ...grouped.identifiers]);
  });

  const changes: [string, (files: Files) => void, RegExp][] = [
    ["no dataset.json", (f) => f.delete("dataset.json"), /no dataset.json/],
    ["no JSON", (f) => f.set("dataset.json", new Uint8Array([123])), /not JSON.*dataset.json/],
    ["JSON that is no object", (f) => f.set("dataset.json", json([1])), /expected a JSON object/],
    ["a missing array", (f) => f.delete("all__labels.npy"), /no all__labels.npy/],
    [
      "a field of another type",
      (f) => edit(f, { seq_len: "2" }),
      /seq_len is "2"; expected a positive integer/,
    ],
    ["a set name that leaves the folder", (f) => edit(f, { sets: ["../x"] }), /sets is \["..\/x"\]/],
    ["another seq_len", (f) => edit(f, { seq_len: 3 }), /shape \(6, 2\); expected \(6, 3\)/],
    ["a smaller vocabulary", (f) => edit(f, { vocab_size: 3 }), /value 3 at index 2; expected 0 to 2/],
    ["fewer identifiers", (f) => edit(f, { num_puzzle_identifiers: 2 }), /value 2 .* expected 0 to 1/],
    ["another number of groups", (f) => edit(f, { total_groups: 4 }), /total_groups is 4; the sets have 3/],
    [
      "labels of another shape",
      (f) => f.set("all__labels.npy", writeNpy([1], [1, 1], "|u1")),
      /expected \(6, 2\)/,
    ],
    ["group indices past the end", (f) => indices(f, "group", [0, 2, 3, 9]), /a list from 0 to 5/],
    ["group indices that fall", (f) => indices(f, "group", [0, 3, 2, 5]), /not above the one before/],
    ["an empty puzzle", (f) => indices(f, "puzzle", [0, 1, 1, 4, 5, 6]), /not above the one before/],
    [
      "a truncated array",
      (f) => f.set("all__inputs.npy", f.get("all__inputs.npy")!.slice(0, -1)),
      /all__inputs.npy/,
    ],
  ];
  function edit(files: Files, fields: object): void {
    const metadata = JSON.parse(new TextDecoder().decode(files.get("dataset.json"))) as object;
    files.set("dataset.json", json({ ...metadata, ...fields }));
  }
  function indices(files: Files, name: string, values: number[]): void {
    files.set(`all__${name}_indices.npy`, writeNpy(values, [values.length], "<i4"));
  }
  for (const [what, change, message] of changes) {
    it(`refuses ${what}`, async () => {
      const files = written();
      change(files);
      const error = await failure(readDataset(reader(files), "my"));
      assert.instanceOf(error, FileFormatError);
      assert.match(error.message, message);
      assert.include(error.message, "my");
    });
  }

  it("a folder that does not fit the wanted task, or holds no data set, says so", async () => {
    const source: FolderSource = { kind: "folder", name: "d", read: reader(written()) };
    const error = await failure(loadPuzzles(source, { split: "train", task: sudokuTask(4) }));
    assert.match(
      error.message,
      /2 cells of 4 tokens and 3 identifiers; expected 16, 6 and at most 1 for sudoku4/,
    );
    const empty: FolderSource = { kind: "folder", name: "e", read: () => Promise.resolve(null) };
    const missing = await failure(loadPuzzles(empty, { split: "test" }));
    assert.match(missing.message, /neither dataset.json nor test\/dataset.json in the folder/);
    const free = await loadPuzzles(source, { split: "train" });
    assert.deepEqual([free.task.length, free.task.vocabSize, free.task.numPuzzleIdentifiers], [2, 4, 3]);
    assert.equal(free.task.name, taskOfShape(2, 4).name);
  });
});

describe("sources", () => {
  it("a File tells its format by its ending, or by its first byte", async () => {
    const records = generateSudoku({ size: 6, count: 2, seed: 1 });
    const csv = new File([writePuzzleCsv(records, sudokuTask(6))], "p.csv");
    const data = await loadPuzzles(blobSource(csv), { split: "train" });
    assert.deepEqual(
      [data.format, data.name, data.task.name, data.set.count],
      ["csv", "p.csv", "sudoku6", 2],
    );
    const lines = new Blob(['{"input": [1, 2], "label": [2, 1]}']);
    const own = await loadPuzzles(blobSource(lines), { split: "train" });
    assert.deepEqual([own.format, own.task.name], ["jsonl", "grid-1x2-v3"]);
    const other = await failure(
      loadPuzzles(blobSource(new File(["s,abc,abc,0\n"], "x.csv")), { split: "test" }),
    );
    assert.match(other.message, /"abc" of 3 characters, is of no known task/);
  });

  it("a URL is fetched; one that is not there says so", async () => {
    const url = `data:text/csv,${encodeURIComponent("q,1...............,1234341221434321,0\n")}`;
    const error = await failure(loadPuzzles(urlSource(url), { split: "train", task: sudokuTask(6) }));
    assert.match(error.message, /16 characters; expected 36/);
    const gone = await failure(loadPuzzles(urlSource("http://127.0.0.1:9/none.csv"), { split: "train" }));
    assert.instanceOf(gone, SourceError);
    assert.match(gone.message, /cannot read http:\/\/127.0.0.1:9\/none.csv/);
    assert.equal(urlSource("http://x.test/data/dataset.json").kind, "folder");
    assert.equal(urlSource("http://x.test/data/").kind, "folder");
    assert.equal(urlSource("http://x.test/data.csv").kind, "file");
  });
});
