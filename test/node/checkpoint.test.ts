import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 as zlibCrc32 } from "node:zlib";
import { assert } from "chai";
import {
  decodeCheckpoint,
  encodeCheckpoint,
  type Checkpoint,
} from "../../hrm/files/checkpoints/checkpoint.js";
import {
  newestCheckpoint,
  NoCheckpointError,
  ofRun as holdsRun,
  storeCheckpoint,
} from "../../hrm/cli/runs/checkpoint_store.js";
import { modelConfig, trainConfig } from "../../hrm/model/config.js";
import { crc32 } from "../../hrm/files/archives/crc32.js";
import {
  FileFormatError,
  readSafetensors,
  writeSafetensors,
  type SafetensorsTensor,
} from "../../hrm/files/index.js";
import { seal, UNSEALED } from "../../hrm/files/checkpoints/seal.js";
import { initialState } from "../../hrm/model/parameters.js";
import { hostRandom } from "../../hrm/puzzles/random.js";
import { VERSION } from "../../hrm/version.js";
import { TestFileSystem } from "../support/power_cut.js";
import { rejection } from "../support/rejection.js";

const config = modelConfig({
  ...{
    hidden_size: 8,
    num_heads: 2,
    H_layers: 1,
    L_layers: 1,
    seq_len: 4,
    vocab_size: 5,
    swiglu_multiple: 8,
  },
});
const sample = (step: number): Checkpoint => ({
  ...{ config, task: "sudoku4", vocabulary: ["pad", "1", "2", "3", "4"], step, seed: 7 },
  raw: initialState(config, step),
  ema: null,
});

/** The same with a run's record, of which only what is not a tensor matters here. */
const ofRun: Checkpoint = {
  ...sample(1),
  run: {
    ...{ config, state: initialState(config, 1), train: trainConfig({}), seed: 7, step: 1, fetched: 1 },
    ...{
      data: "1x4:00000000",
      kernels: {},
      microBatch: null,
      precision: null,
      validatedAt: 0,
      looksSinceBest: 0,
      best: null,
      ended: null,
    },
    origin: { adapter: "a", vendor: "v", architecture: "x", runtime: "r", version: VERSION },
  },
};

/** A file's content, to be changed. */
interface Changeable {
  readonly tensors: Map<string, SafetensorsTensor>;
  readonly metadata: Record<string, string>;
}

describe("checksum", () => {
  it("is CRC-32, whatever the length, alignment and split", () => {
    const random = hostRandom(1);
    assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
    for (let length = 0; length < 70; length++) {
      const bytes = Uint8Array.from({ length: length + 3 }, () => random.below(256)).subarray(3);
      const expected = zlibCrc32 ? zlibCrc32(bytes) : bitwise(bytes);
      assert.equal(crc32(bytes), expected);
      const middle = random.below(length + 1);
      assert.equal(crc32(bytes.subarray(middle), crc32(bytes.subarray(0, middle))), expected);
    }
  });
});

/** For Node versions whose zlib has no crc32. */
function bitwise(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

describe("checkpoint", () => {
  it("records this package's version", async () => {
    const manifest = JSON.parse(await readFile("package.json", "utf8")) as { version: string };
    assert.equal(VERSION, manifest.version);
    const { metadata } = readSafetensors(encodeCheckpoint(sample(1)));
    assert.equal(metadata["version"], VERSION);
    assert.equal(metadata["seed"], "7");
    assert.deepEqual(JSON.parse(metadata["vocabulary"]!), sample(1).vocabulary);
    assert.deepEqual(JSON.parse(metadata["config"]!), config);
  });

  it("comes back as it was written", () => {
    assert.deepEqual(decodeCheckpoint(encodeCheckpoint(sample(12))), sample(12));
  });

  it("notices every truncation and every flipped bit that a fair sample tries", () => {
    const bytes = encodeCheckpoint(sample(3));
    const header = 8 + new DataView(bytes.buffer).getUint32(0, true);
    const random = hostRandom(20241124);
    for (let i = 0; i < 1500; i++) {
      let damaged = bytes.slice();
      if (i % 3 === 0) damaged = damaged.slice(0, random.below(bytes.length));
      else damaged[random.below(i % 3 === 1 ? header : bytes.length)]! ^= 1 << random.below(8);
      assert.throws(() => decodeCheckpoint(damaged), FileFormatError, undefined, `damage ${i}`);
    }
  });

  it("refuses a file of another origin and says what is missing", () => {
    const foreign = writeSafetensors([["w", { dtype: "F32", shape: [1], data: Float32Array.of(1) }]]);
    assert.throws(() => decodeCheckpoint(foreign), FileFormatError, /no checksum in the file's metadata/);
  });

  const lies: readonly (readonly [what: string, change: (file: Changeable) => void, said: RegExp])[] = [
    [
      "more layers than it has tensors",
      ({ metadata }) => (metadata["config"] = JSON.stringify({ ...config, H_layers: 1024 })),
      /1024 \+ 1 layers, more than its \d+ tensors/,
    ],
    [
      "a layer that is not there",
      ({ metadata }) => (metadata["config"] = JSON.stringify({ ...config, H_layers: 2 })),
      /is missing; expected f32 \[24, 8\] \(tensor "inner\.H_level\.layers\.1\.self_attn/,
    ],
    [
      "a weight of another shape",
      ({ tensors }) =>
        tensors.set("inner.q_head.bias", { dtype: "F32", shape: [3], data: new Float32Array(3) }),
      /is f32 \[3\]; expected f32 \[2\] \(tensor "inner\.q_head\.bias"\)/,
    ],
    [
      "a vocabulary of another size",
      ({ metadata }) => (metadata["vocabulary"] = '["a", "b"]'),
      /its vocabulary has 2 tokens; expected 5/,
    ],
    ...["x", "0", "-1", "1.5", "Infinity"].map(
      (rows) =>
        [
          `a micro-batch of ${rows}`,
          ({ metadata }: Changeable) => {
            const run = JSON.parse(metadata["run"]!) as { choices: object };
            metadata["run"] = JSON.stringify({ ...run, choices: { ...run.choices, "micro-batch": rows } });
          },
          new RegExp(`its micro-batch is "${rows}"; expected a divisor of batch_size`),
        ] as const,
    ),
    [
      "a value deeper than the stack",
      ({ metadata }) => (metadata["config"] = `{"H_layers": ${"[".repeat(20_000)}${"]".repeat(20_000)}}`),
      /its configuration cannot be used: config\.H_layers: got \[\[\.\.\.\]\]; expected a positive integer/,
    ],
  ];
  for (const [what, change, said] of lies) {
    it(`refuses ${what} behind a right checksum`, () => {
      const { tensors, metadata } = readSafetensors(encodeCheckpoint(ofRun));
      const file = { tensors: new Map(tensors), metadata: { ...metadata, ...UNSEALED } };
      change(file);
      const bytes = seal(writeSafetensors(file.tensors, file.metadata));
      assert.throws(() => decodeCheckpoint(bytes), FileFormatError, said);
    });
  }
});

describe("checkpoint store", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-store-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const names = (...steps: number[]): string[] =>
    steps.map((step) => `step-${String(step).padStart(8, "0")}.safetensors`);

  it("keeps the last N and nothing half-written", async () => {
    await writeFile(join(folder, "step-00000001.safetensors.99.partial"), "half");
    await writeFile(join(folder, "metrics.jsonl"), "{}");
    for (const step of [5, 10, 100, 15])
      await storeCheckpoint(folder, step, encodeCheckpoint(sample(step)), { keep: 2 });
    assert.sameMembers(await readdir(folder), [...names(15, 100), "metrics.jsonl"]);
    const { checkpoint, skipped } = await newestCheckpoint(folder);
    assert.equal(checkpoint.step, 100);
    assert.isEmpty(skipped);
  });

  it("falls back to the last good one and says what was wrong with the others", async () => {
    const paths: string[] = [];
    for (const step of [1, 2, 3, 4])
      paths.push(await storeCheckpoint(folder, step, encodeCheckpoint(sample(step)), { keep: 4 }));
    await truncate(paths[3]!, 5000);
    const torn = await readFile(paths[2]!);
    torn.fill(0, torn.length - 512);
    await writeFile(paths[2]!, torn);
    const { path, checkpoint, skipped } = await newestCheckpoint(folder);
    assert.equal(path, paths[1]);
    assert.equal(checkpoint.step, 2);
    assert.deepEqual(
      skipped.map((s) => s.path),
      [paths[3], paths[2]],
    );
    for (const { problem } of skipped) assert.match(problem, /its checksum is [0-9a-f]{8}, but/);
  });

  it("keeps what it saved, and removes nothing that it cannot read, if damaged files of higher steps lie there", async () => {
    const damaged = names(90, 91, 92);
    for (const name of damaged) await writeFile(join(folder, name), "damaged");
    await writeFile(join(folder, names(93)[0]!), encodeCheckpoint(sample(5)));
    for (const keep of [1, 2]) {
      const usable = new Map<string, boolean>();
      const saved: string[] = [];
      for (const step of [10, 20, 30].map((s) => s + keep)) {
        saved.push(await storeCheckpoint(folder, step, encodeCheckpoint(sample(step)), { keep, usable }));
        assert.equal((await newestCheckpoint(folder)).path, saved.at(-1));
      }
      assert.sameMembers(await readdir(folder), [
        ...[...damaged, ...names(93)],
        ...saved.slice(-keep).map((path) => path.slice(folder.length + 1)),
      ]);
      for (const path of saved) await rm(path, { force: true });
    }
  });

  it("passes over files that hold weights alone, and over files named after another step", async () => {
    const run = ofRun.run!;
    const whole = { ...ofRun, step: 3, run: { ...run, step: 3 } };
    await storeCheckpoint(folder, 3, encodeCheckpoint(whole), { keep: 1 });
    await writeFile(join(folder, names(7)[0]!), encodeCheckpoint(sample(7)));
    await writeFile(join(folder, names(8)[0]!), encodeCheckpoint(whole));
    const { checkpoint, skipped } = await newestCheckpoint(folder, { wanted: holdsRun });
    assert.equal(checkpoint.step, 3);
    assert.deepEqual(
      skipped.map(({ problem }) => problem),
      ["its name is that of another step; it holds step 3", "it holds weights alone, not a run"],
    );
  });

  it("does not take a folder that cannot be read for an empty one", async () => {
    const unreadable = TestFileSystem.of({ [`/c/${names(3)[0]!}`]: encodeCheckpoint(sample(3)) });
    unreadable.failAt = { call: 0, code: "EACCES" };
    assert.propertyVal(await rejection(newestCheckpoint("/c", { fs: unreadable })), "code", "EACCES");
  });

  it("names every file if none is good, and says that a folder is empty", async () => {
    const error = async (): Promise<string> =>
      newestCheckpoint(folder).then(
        () => assert.fail("did not throw"),
        (e: unknown) => (assert.instanceOf(e, NoCheckpointError), (e as Error).message),
      );
    assert.match(await error(), /no file step-\*\.safetensors/);
    await writeFile(join(folder, names(3)[0]!), "not a checkpoint");
    assert.match(await error(), /only broken ones:\n.*step-00000003\.safetensors: safetensors: /);
  });
});
