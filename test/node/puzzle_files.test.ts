/** `--data` and `--test`: what people give them. */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { readFileSync, existsSync, statSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { assert } from "chai";
import { ArgumentError } from "../../hrm/terminal/arguments.js";
import { readPuzzles, splitsOf, withFiles } from "../../hrm/cli/inputs/puzzle_files.js";
import { findPreset } from "../../hrm/training/presets.js";
import { writeDataset, writePuzzleCsv } from "../../hrm/files/puzzles/index.js";
import { generateMazes, generateSudoku, mazeTask, puzzleSet, sudokuTask } from "../../hrm/puzzles/index.js";
import { rejection } from "../support/rejection.js";

const sudoku6 = { task: sudokuTask(6), records: generateSudoku({ size: 6, count: 12, seed: 4 }) };
const preset = findPreset("sudoku6")!;
const GRID = '{"input": [[1, 0]], "label": [[1, 2]]}';

describe("--data and --test", () => {
  let folder: string;
  let server: Server;
  let address: string;
  const at = (name: string): string => join(folder, name);

  async function put(name: string, content: string | Uint8Array): Promise<void> {
    await mkdir(dirname(at(name)), { recursive: true });
    await writeFile(at(name), content);
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-data-"));
    const csv = writePuzzleCsv(sudoku6.records, sudoku6.task);
    await put("six.csv", csv);
    await put("none.ending", csv);
    await put("one.csv", csv.split("\n").slice(0, 2).join("\n"));
    await put("six.csv.gz", gzipSync(csv));
    await put("windows.csv", `\ufeff${csv.replaceAll("\n", "\r\n")}\r\n\r\n`);
    await put("bad.csv", csv.replace(/,\d\n$/, "x,0\n"));
    await put("old-mac.csv", csv.replaceAll("\n", "\r"));
    await put("mark.jsonlines", `\ufeff\n ${GRID}\n${GRID}\n`);
    await put("list.json", `[\n${GRID},\n${GRID}\n]`);
    await put("pretty.json", JSON.stringify(JSON.parse(GRID), null, 2));
    await put("names.csv", `id,clues,grid\n${csv.split("\n").slice(1).join("\n")}`);
    await put("trimmed.csv", "x,#S G## ##,#SoG## ##\n\n".replace("## ##", "## #"));
    await put("six.zip", Uint8Array.of(0x50, 0x4b, 3, 4, 0));
    await put("six.parquet", "PAR1PAR1");
    await put("six.csv.zst", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0));
    await put("six.csv.xz", Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0));
    await put("six.csv.bz2", "BZh91AY");
    await put("utf16.csv", new Uint8Array(Buffer.from(`\ufeff${csv}`, "utf16le")));
    await put("page.csv", "\n<!DOCTYPE html>\n<html></html>\n");
    const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0123abcd\nsize 718984238\n";
    await put("pointer.csv", pointer);
    await put("pointer.jsonl", `\ufeff${pointer.replaceAll("\n", "\r\n")}`);
    await put("pointer.sdm", "../.git/annex/objects/kX/f5/SHA256E-s99--0123.sdm/SHA256E-s99--0123.sdm\n");
    for (const [name, bytes] of writeDataset(puzzleSet(sudoku6.records, 36), sudoku6.task)) {
      await put(`pointers/${name}`, name === "dataset.json" ? bytes : pointer);
      await put(`pointed/${name}`, name === "dataset.json" ? pointer : bytes);
    }
    await put("array.npy", Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0));
    for (const size of [4, 9] as const)
      await put(`${size}.csv`, writePuzzleCsv(generateSudoku({ size, count: 2, seed: 1 }), sudokuTask(size)));
    for (const side of [4, 6, 9])
      await put(
        `maze${side}.csv`,
        writePuzzleCsv(generateMazes({ side, count: 2, seed: 1, minLength: 3 }), mazeTask(side)),
      );
    for (const [half, rows] of [
      ["train", sudoku6.records.slice(0, 8)],
      ["test", sudoku6.records.slice(8)],
    ] as const)
      for (const [name, bytes] of writeDataset(puzzleSet(rows, 36), sudoku6.task))
        await put(`official/${half}/${name}`, bytes);
    server = createServer((request, response) => {
      const file = at(request.url!.slice(1).replace(/\?.*/, ""));
      if (!existsSync(file) || statSync(file).isDirectory()) response.writeHead(404).end();
      else response.end(readFileSync(file));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.close();
    await rm(folder, { recursive: true, force: true });
  });

  const tasks: readonly (readonly [file: string, task: string, count: number])[] = [
    ["4.csv", "sudoku4", 2],
    ["six.csv", "sudoku6", 12],
    ["9.csv", "sudoku9", 2],
    ["none.ending", "sudoku6", 12],
    ["windows.csv", "sudoku6", 12],
    ["old-mac.csv", "sudoku6", 12],
    ["mark.jsonlines", "grid-1x2-v3", 2],
    ["list.json", "grid-1x2-v3", 2],
    ["maze4.csv", "maze-4x4", 2],
    ["maze6.csv", "maze-6x6", 2],
    ["maze9.csv", "maze-9x9", 2],
    ["official", "sudoku6", 8],
    ["official/", "sudoku6", 8],
    ["official/train", "sudoku6", 8],
    ["official/test/dataset.json", "sudoku6", 4],
  ];
  for (const [file, task, count] of tasks) {
    it(`${file} holds ${count} puzzles of ${task}`, async () => {
      const data = await readPuzzles(at(file), "--data", { split: "train" });
      assert.deepEqual([data.task.name, data.set.count], [task, count]);
    });
  }

  const addresses: readonly (readonly [path: string, count: number])[] = [
    ["six.csv", 12],
    ["six.csv?token=1", 12],
    ["official/", 8],
    ["official/test/dataset.json", 4],
  ];
  for (const [path, count] of addresses) {
    it(`an address reads as a path does: ${path}`, async () => {
      const data = await readPuzzles(`${address}/${path}`, "--data", { split: "train" });
      assert.deepEqual([data.task.name, data.set.count], ["sudoku6", count]);
    });
  }

  it("a file: URL reads as its path does", async () => {
    for (const [file, count] of [
      ["six.csv", 12],
      ["official", 8],
    ] as const) {
      const data = await readPuzzles(String(pathToFileURL(at(file))), "--data", { split: "train" });
      assert.equal(data.set.count, count);
    }
  });

  it("an official folder brings its own test half, at a path and at an address", async () => {
    for (const data of [at("official"), `${address}/official/`]) {
      const { test, train, validation } = splitsOf(await withFiles(preset, { data, test: undefined }), 0);
      assert.deepEqual([train.count, validation.count, test.count], [7, 1, 4], data);
    }
    const { train, validation, test } = splitsOf(
      await withFiles(preset, { data: at("official/train"), test: undefined }),
      0,
    );
    assert.deepEqual([train.count, validation.count, test.count], [6, 1, 1]);
  });

  it("holds out a tenth of the groups, not of their images", async () => {
    const images = sudoku6.records.flatMap((record) => [record, record, record, record, record]);
    const ends = Array.from({ length: 13 }, (_, group) => 5 * group);
    const groups = {
      puzzleIndices: Int32Array.from({ length: 61 }, (_, row) => row),
      groupIndices: Int32Array.from(ends),
    };
    for (const [name, bytes] of writeDataset({ ...puzzleSet(images, 36), groups }, sudoku6.task))
      await put(`grouped/${name}`, bytes);
    const { train, validation, test } = splitsOf(
      await withFiles(preset, { data: at("grouped"), test: at("official") }),
      0,
    );
    assert.deepEqual([train.count, validation.count, test.count], [55, 1, 4]);
  });

  const refused: readonly (readonly [what: string, file: string, ...said: string[]])[] = [
    ["a line", "bad.csv", "--data: csv: answer: ", "bad.csv, line 13)"],
    ["a header without names", "names.csv", "got 4 fields; expected 3", "names.csv, line 2)"],
    ["a maze without its spaces", "trimmed.csv", "spaces at its ends included", "trimmed.csv, line 1)"],
    ["a compressed file", "six.csv.gz", "compressed with gzip", "six.csv.gz"],
    ["Zstandard", "six.csv.zst", "compressed with Zstandard", "zstd -d"],
    ["xz", "six.csv.xz", "compressed with xz", "xz -d"],
    ["bzip2", "six.csv.bz2", "compressed with bzip2", "bzip2 -d"],
    ["an archive", "six.zip", "a zip archive; unpack it first"],
    ["Parquet", "six.parquet", "a Parquet file; write it as CSV first"],
    ["UTF-16", "utf16.csv", "UTF-16 text; save it as UTF-8"],
    ["a web page", "page.csv", "an HTML page; expected the file itself"],
    ["a Git LFS pointer", "pointer.csv", "a Git LFS pointer of a file of 718984238 bytes", "git lfs pull"],
    ["a Git LFS pointer of JSON lines", "pointer.jsonl", "a Git LFS pointer of a file of 718984238 bytes"],
    ["a git-annex pointer", "pointer.sdm", "a git-annex pointer", "git annex get"],
    ["Git LFS pointers of arrays", "pointers", "npy: a Git LFS pointer of a file of 718984238 bytes"],
    ["a Git LFS pointer of dataset.json", "pointed", "dataset: a Git LFS pointer", "pointed/dataset.json"],
    ["one array of a data set", "array.npy", "expected its folder"],
    ["an object over several lines", "pretty.json", "expected one whole object a line", "line 1)"],
    ["a folder without a data set", ".", "neither dataset.json nor train/dataset.json"],
    ["nothing there", "none.csv", "--data: cannot read", "none.csv", "no such file"],
    ["no data set there", "none/dataset.json", "--data: cannot read", "no such file"],
  ];
  for (const [what, file, ...said] of refused) {
    it(`refuses ${what}, naming it`, async () => {
      const error = await rejection(readPuzzles(at(file), "--data", { split: "train" }));
      assert.instanceOf(error, ArgumentError);
      for (const text of said) assert.include(error.message, text);
    });
  }

  it("reads a pipe once, however often a command asks for it", async () => {
    execFileSync("mkfifo", [at("pipe")]);
    const content = writeFile(at("pipe"), writePuzzleCsv(sudoku6.records, sudoku6.task));
    for (let time = 0; time < 3; time++) {
      const { set } = await readPuzzles(at("pipe"), "--data", { split: "train" });
      assert.equal(set.count, 12);
    }
    await content;
  });

  it("refuses a test file of another task, and too few puzzles to hold any out; splits 4x4 by grid", async () => {
    const other = await rejection(withFiles(preset, { data: at("six.csv"), test: at("4.csv") }));
    assert.instanceOf(other, ArgumentError);
    assert.match(
      other.message,
      /^--test: csv: question: sudoku6: got 16 characters; expected 36.*4\.csv, line 2/,
    );
    const few = await withFiles(preset, { data: at("one.csv"), test: undefined });
    assert.throws(() => splitsOf(few, 0), ArgumentError, /--data: holdOut: got 1 puzzles.*Give more puzzles/);
    await put("twelve.csv", writePuzzleCsv(generateSudoku({ size: 4, count: 12, seed: 1 }), sudokuTask(4)));
    const byGrid = await withFiles(preset, { data: at("twelve.csv"), test: undefined });
    const { train, test } = splitsOf(byGrid, 0);
    assert.deepEqual([train.count + 2 * test.count, byGrid.train.augment], [12, false]);
    const none = findPreset("sudoku-extreme-1k")!;
    assert.throws(() => splitsOf(none, 0), ArgumentError, /--data: preset sudoku-extreme-1k: has no puzzles/);
  });
});
