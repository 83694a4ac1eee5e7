/** Files of tensors and checkpoints: damage, and what must hold of everything that is still accepted. */
import { deflateRawSync } from "node:zlib";
import { assert } from "chai";
import { encodeCheckpoint, runCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { hostTensor } from "../../engine/index.js";
import { ConfigError, initialState, trainConfig, type HrmConfig } from "../../hrm/index.js";
import {
  FileFormatError,
  readSafetensors,
  readTorch,
  writeSafetensors,
  writeTorch,
  type SafetensorsTensor,
} from "../../hrm/files/index.js";
import { DTYPE_BYTES } from "../../hrm/files/tensors/safetensors.js";
import { isSealed, seal } from "../../hrm/files/checkpoints/seal.js";
import { readZip, writeZip } from "../../hrm/files/archives/zip.js";
import { openCheckpoint, OFFICIAL_PREFIX } from "../../hrm/files/checkpoints/official.js";
import { isMicroBatch } from "../../hrm/model/config.js";
import { parameterSpecs } from "../../hrm/model/parameters.js";
import type { SessionSnapshot } from "../../hrm/training/session.js";
import type { HostRandom } from "../../hrm/puzzles/index.js";
import { VERSION } from "../../hrm/version.js";
import { haltOnly, official } from "../support/tiny.js";
import { pick, outcomeOf, type FuzzFormat, type Outcome } from "./format.js";
import { mutate } from "./mutate.js";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Sizes agree with shapes, and nothing was made of bytes that are not there. */
function assertTensors(tensors: ReadonlyMap<string, SafetensorsTensor>, mostBytes: number): void {
  let total = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    const count = shape.reduce((a, b) => a * b, 1);
    assert.equal(data.byteLength, count * DTYPE_BYTES[dtype], name);
    total += data.byteLength;
  }
  assert.isAtMost(total, mostBytes);
}

/**
 * A checkpoint that is accepted has every weight of its configuration, the same of all that it keeps beside them, and a
 * micro-batch that the batch can be made of.
 */
function openSoundly(bytes: Uint8Array, given?: Partial<HrmConfig>): void {
  const { checkpoint } = openCheckpoint(bytes, given ? { config: given } : {});
  const { config, raw, ema, run } = checkpoint;
  for (const state of [raw, ema ?? raw, run?.best?.weights ?? raw]) {
    for (const { name, shape } of parameterSpecs(config)) {
      assert.deepEqual([...(state.get(name)?.shape ?? [])], [...shape], name);
      assert.lengthOf(
        state.get(name)!.data,
        shape.reduce((a, b) => a * b, 1),
        name,
      );
    }
  }
  if (!run) return;
  assert.isTrue(Object.values(run.kernels).every((choice) => typeof choice === "string"));
  assert.isTrue(isMicroBatch(run.microBatch ?? config.batch_size, config));
}

/** Options that contradict the weights are the user's mistake, which damage can make of good ones. */
const outcomeOfOpening = (read: () => unknown): Promise<Outcome> =>
  outcomeOf(() => {
    try {
      read();
    } catch (error) {
      if (error instanceof ConfigError) throw new FileFormatError("checkpoint", error.message);
      throw error;
    }
  });

const small: ReadonlyMap<string, SafetensorsTensor> = new Map<string, SafetensorsTensor>([
  ["a", { dtype: "F32", shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }],
  ["b.weight", { dtype: "BF16", shape: [5], data: new Uint8Array(10) }],
  ["steps", { dtype: "I64", shape: [], data: new Uint8Array(8) }],
  ["empty", { dtype: "I32", shape: [0, 7], data: new Int32Array(0) }],
]);

const weights = new Map<string, SafetensorsTensor>(
  [...initialState(official, 3)].map(([name, { shape, data }]) => [
    OFFICIAL_PREFIX + name,
    { dtype: "F32", shape, data: data as Float32Array },
  ]),
);
const untold: Partial<HrmConfig> = { num_heads: 2, seq_len: 6, H_cycles: 2, L_cycles: 2, halt_max_steps: 3 };

type Choices = Pick<SessionSnapshot, "kernels" | "microBatch" | "precision">;
/** Choices of three runs: no choices, the rows of a micro-batch, and measured kernels with a micro-batch and a precision. */
const choicesOfRuns: readonly Choices[] = [
  { kernels: {}, microBatch: null, precision: null },
  { kernels: {}, microBatch: 1, precision: null },
  {
    kernels: { matmul_nt_18x24x8: "r4x4", matmul_nt_residual_18x8x32: "w32x32k16" },
    ...{ microBatch: 1, precision: "f16 16x16x16" },
  },
];

/** The state of a run that has looked twice, small but complete. */
function runState(config: HrmConfig, choices: Choices): SessionSnapshot {
  const state = new Map([...initialState(config, 1)]);
  for (const [name, value] of initialState(config, 2))
    for (const prefix of ["ema.", "exp_avg.", "exp_avg_sq."]) state.set(prefix + name, value);
  state.set("counter", hostTensor(Uint32Array.of(7, 20), [2]));
  state.set("carry.steps", hostTensor(new Int32Array(config.batch_size), [config.batch_size]));
  return {
    ...{ config, state, train: trainConfig({ ema_decay: 0.9 }), seed: 7, step: 20, fetched: 20 },
    ...{ data: "8x6:00000000", ...choices, validatedAt: 20, looksSinceBest: 1 },
    origin: { adapter: "a", vendor: "v", architecture: "x", runtime: "Node.js/20", version: VERSION },
    best: { step: 10, exactAccuracy: 0.5, cellAccuracy: 0.75, weights: initialState(config, 4) },
    ended: null,
  };
}

const runs = [official, haltOnly].flatMap((config) =>
  choicesOfRuns.map((choices) =>
    encodeCheckpoint(runCheckpoint(runState(config, choices), { task: "grid-1x6-v7", data: "train.jsonl" })),
  ),
);

const torchFile = writeTorch(weights);
const smallTorch = writeTorch(small);

/** What Python's pickler writes beside our plainer opcodes: memo, short strings, longs, a nested dict, attributes. */
const pythonPickle = Uint8Array.from([
  ...[0x80, 2, 0x7d, 0x71, 0, 0x58, 5, 0, 0, 0, ...utf8("model"), 0x71, 1],
  ...[0x63, ...utf8("collections\nOrderedDict\n"), 0x71, 2, 0x29, 0x52, 0x71, 3, 0x28],
  ...[0x8c, 1, 0x77, 0x94, 0x63, ...utf8("torch._utils\n_rebuild_tensor_v2\n"), 0x71, 4, 0x28, 0x28],
  ...[0x58, 7, 0, 0, 0, ...utf8("storage"), 0x71, 5, 0x63, ...utf8("torch\nFloatStorage\n"), 0x71, 6],
  ...[0x55, 1, 0x30, 0x58, 6, 0, 0, 0, ...utf8("cuda:0"), 0x8a, 1, 24, 0x74, 0x71, 8, 0x51, 0x4b, 0],
  // Transposed: shape (4, 6) with stride (1, 4), so that the reader gathers.
  ...[0x4b, 4, 0x4b, 6, 0x86, 0x4b, 1, 0x4d, 4, 0, 0x86, 0x89, 0x68, 2, 0x29, 0x52, 0x74, 0x52],
  ...[0x75, 0x7d, 0x58, 9, 0, 0, 0, ...utf8("_metadata"), 0x7d, 0x73, 0x62, 0x73],
  ...[0x58, 4, 0, 0, 0, ...utf8("step"), 0x47, 0x40, 0x45, 0, 0, 0, 0, 0, 0, 0x73, 0x2e],
]);

/** An archive with the pickle as given, its checksums right, so that damage reaches the pickle's reader. */
const archiveOf = (pickle: Uint8Array, storages: readonly (readonly [string, Uint8Array])[]): Uint8Array =>
  writeZip([["archive/data.pkl", pickle], ...storages]);

const pickles = [
  { pickle: pythonPickle, storages: [["archive/data/0", new Uint8Array(96)] as const] },
  ...[smallTorch, torchFile].map((file) => {
    const entries = readZip(file);
    return {
      pickle: entries.get("archive/data.pkl")!.read(),
      storages: [...entries.values()]
        .filter(({ name }) => name.includes("/data/"))
        .map((entry) => [entry.name, entry.read()] as const),
    };
  }),
];

/** Stored and deflated entries; of each deflated one the size is where a lie would cost memory. */
function deflatedArchive(): Uint8Array {
  const content = utf8("0123456789abcdef".repeat(40));
  const packed = new Uint8Array(deflateRawSync(content));
  const bytes = writeZip([
    ["stored", utf8("stored content")],
    ["deflated", packed],
  ]);
  const view = new DataView(bytes.buffer);
  const directory = view.getUint32(bytes.length - 6, true);
  const second = directory + 46 + "stored".length;
  const checksum = new DataView(writeZip([["x", content]]).buffer).getUint32(14, true);
  for (const at of [view.getUint32(second + 42, true) + 4, second + 6]) {
    view.setUint16(at + 4, 8, true);
    view.setUint32(at + 10, checksum, true);
    view.setUint32(at + 18, content.length, true);
  }
  return bytes;
}
const archives = [deflatedArchive(), smallTorch];

/** Damage anywhere, or in the header alone, whose length is made right again so that it is read. */
function mutateSafetensors(bytes: Uint8Array, random: HostRandom): Uint8Array {
  if (random.below(2) === 0) return mutate(bytes, random);
  const end = 8 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = mutate(bytes.subarray(8, end), random);
  const damaged = new Uint8Array(8 + header.length + bytes.length - end);
  new DataView(damaged.buffer).setUint32(0, header.length, true);
  damaged.set(header, 8);
  damaged.set(bytes.subarray(end), 8 + header.length);
  return damaged;
}

/** Damage after which the checksum is made right again, so that it reaches what lies behind. */
function resealed(bytes: Uint8Array, random: HostRandom): Uint8Array {
  const damaged = mutateSafetensors(bytes, random).slice();
  return isSealed(damaged) ? seal(damaged) : damaged;
}

/** Reads every file that is damaged below, as it is before. */
export function readUndamaged(): void {
  assertTensors(readSafetensors(writeSafetensors(small, { format: "pt" })).tensors, 1000);
  for (const archive of archives) for (const entry of readZip(archive).values()) entry.read();
  for (const { pickle, storages } of pickles) assert.isAbove(readTorch(archiveOf(pickle, storages)).size, 0);
  for (const file of [torchFile, writeSafetensors(weights)]) openSoundly(file, untold);
  for (const file of runs) openSoundly(file);
}

/** Every format of tensors, by name. */
export const tensorFormats: readonly FuzzFormat[] = [
  {
    name: "safetensors",
    attempt(random) {
      const damaged = mutateSafetensors(writeSafetensors(small, { format: "pt" }), random);
      return outcomeOf(() => assertTensors(readSafetensors(damaged).tensors, damaged.length));
    },
  },
  {
    name: "zip",
    attempt(random) {
      const damaged = mutate(pick(random, archives), random);
      return outcomeOf(() => {
        for (const entry of readZip(damaged).values()) assert.lengthOf(entry.read(), entry.size);
      });
    },
  },
  {
    name: "pickle",
    attempt(random) {
      const { pickle, storages } = pick(random, pickles);
      const file = archiveOf(mutate(pickle, random), storages);
      // Gathered copies may take four times the file; views may repeat each other without taking anything.
      return outcomeOf(() => {
        for (const [name, tensor] of readTorch(file))
          assertTensors(new Map([[name, tensor]]), 4 * file.length);
      });
    },
  },
  {
    name: "torch-checkpoint",
    attempt(random) {
      const damaged = mutate(torchFile, random);
      return outcomeOfOpening(() => openSoundly(damaged, untold));
    },
  },
  {
    name: "weights",
    attempt(random) {
      const damaged = mutateSafetensors(writeSafetensors(weights), random);
      return outcomeOfOpening(() => openSoundly(damaged, untold));
    },
  },
  {
    name: "run-checkpoint",
    attempt(random) {
      const whole = pick(random, runs);
      const damaged = mutateSafetensors(whole, random);
      return outcomeOfOpening(() => {
        openSoundly(damaged);
        assert.equal(Buffer.compare(damaged, whole), 0, "damage that the checksum did not show");
      });
    },
  },
  {
    name: "resealed-checkpoint",
    attempt(random) {
      const damaged = resealed(pick(random, runs), random);
      return outcomeOfOpening(() => openSoundly(damaged));
    },
  },
];
