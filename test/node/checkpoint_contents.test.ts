/** What `hrm convert` keeps of a file, what runs' files must agree on, official configurations, and how foreign text is shown. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { hostTensor } from "../../engine/index.js";
import { decodeCheckpoint, encodeCheckpoint, runCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { convertCommand } from "../../hrm/cli/commands/convert.js";
import { readConfigFile } from "../../hrm/cli/options/configure.js";
import { configBeside } from "../../hrm/cli/inputs/official_config.js";
import { trainConfig } from "../../hrm/model/config.js";
import {
  FileFormatError,
  readSafetensors,
  readTorch,
  writeSafetensors,
  writeTorch,
  type SafetensorsTensor,
} from "../../hrm/files/index.js";
import { initialState } from "../../hrm/index.js";
import { officialState, openCheckpoint } from "../../hrm/files/checkpoints/official.js";
import type { StateDict } from "../../hrm/model/parameters.js";
import type { SessionSnapshot } from "../../hrm/training/session.js";
import { printable, formatValue, formatNames, formatText } from "../../hrm/format_value.js";
import { VERSION } from "../../hrm/version.js";
import { rejection } from "../support/rejection.js";
import { official } from "../support/tiny.js";

const raw = initialState(official, 5);
/** Initial states are never trained, and so have no average of their own. */
const average = new Map(
  [...initialState(official, 6)].map(([name, value]) => [
    name,
    /[HL]_init$/.test(name) ? raw.get(name)! : value,
  ]),
);
const { num_heads, H_cycles, L_cycles, halt_max_steps, seq_len } = official;
const config = { num_heads, H_cycles, L_cycles, halt_max_steps, seq_len };

const tensorsOf = (state: StateDict, rename: (name: string) => string): Map<string, SafetensorsTensor> =>
  new Map(
    [...state].map(([name, { shape, data }]) => [
      rename(name),
      { dtype: "F32", shape, data: data as Float32Array },
    ]),
  );

function assertSame(got: StateDict, expected: StateDict): void {
  for (const [name, { data }] of expected) assert.deepEqual([...got.get(name)!.data], [...data], name);
}

/** Runs something without what it prints. */
async function quietly<T>(work: () => Promise<T>): Promise<{ result: T; printed: string }> {
  const { stdout, stderr } = process;
  const writes = [stdout.write.bind(stdout), stderr.write.bind(stderr)] as const;
  let printed = "";
  const write = (text: string | Uint8Array): boolean => ((printed += String(text)), true);
  Object.assign(stdout, { write });
  Object.assign(stderr, { write });
  try {
    return { result: await work(), printed };
  } finally {
    Object.assign(stdout, { write: writes[0] });
    Object.assign(stderr, { write: writes[1] });
  }
}

/** A run's state after 20 of 100 steps, with some fields changed. */
function run(
  change: Partial<SessionSnapshot> = {},
  counter: readonly [number, number] = [7, 20],
): SessionSnapshot {
  const state = new Map([...raw]);
  for (const [name, value] of average)
    for (const prefix of ["ema.", "exp_avg.", "exp_avg_sq."]) state.set(prefix + name, value);
  state.set("counter", hostTensor(Uint32Array.from(counter), [2]));
  return {
    ...{ config: official, state, train: trainConfig({ total_steps: 100 }), seed: 7, step: 20, fetched: 20 },
    ...{
      data: "8x6:00000000",
      kernels: {},
      microBatch: null,
      precision: null,
      validatedAt: 20,
      looksSinceBest: 1,
      best: null,
      ended: null,
    },
    origin: { adapter: "a", vendor: "v", architecture: "x", runtime: "r", version: VERSION },
    ...change,
  };
}

describe("what is kept of checkpoints", () => {
  let folder: string;
  const path = (name: string): string => join(folder, name);
  const file = async (name: string): Promise<Uint8Array> => new Uint8Array(await readFile(path(name)));
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-contents-"));
    await writeFile(path("run.safetensors"), encodeCheckpoint(runCheckpoint(run(), { task: "grid-1x6-v7" })));
  });
  after(() => rm(folder, { recursive: true, force: true }));
  const convert = async (from: string, to: string, ...more: string[]): Promise<string> =>
    (await quietly(() => convertCommand([path(from), path(to), ...more]))).printed;

  it("convert writes the weights that --weights names, and says what it leaves out", async () => {
    const plain = await convert("run.safetensors", "raw.pt");
    assert.match(plain, /left out {2}the state of the run.*\n(.*\n)*left out {2}the moving average/);
    assertSame(officialState(readTorch(await file("raw.pt"))), raw);
    const averaged = await convert("run.safetensors", "ema.pt", "--weights", "ema");
    assert.match(averaged, /left out {2}the raw weights/);
    assertSame(officialState(readTorch(await file("ema.pt"))), average);
    await convert("run.safetensors", "ema.safetensors", "--weights", "ema");
    assertSame(officialState(readSafetensors(await file("ema.safetensors")).tensors), average);
  });

  it("convert keeps the moving average beside the raw weights in safetensors, and they are found again", async () => {
    await convert("run.safetensors", "both.safetensors");
    const { checkpoint } = openCheckpoint(await file("both.safetensors"), { config });
    assertSame(checkpoint.raw, raw);
    assertSame(checkpoint.ema!, average);
    await convert("both.safetensors", "again.pt", "--weights", "ema");
    assertSame(officialState(new Map(readTorch(await file("again.pt")))), average);
  });

  const wrappers: readonly (readonly [what: string, rename: (name: string) => string])[] = [
    ["module._orig_mod.model.", (name) => `module._orig_mod.model.${name}`],
    ["model.model.module.", (name) => `model.model.module.${name}`],
    ["nothing, not even inner.", (name) => name.replace("inner.", "")],
    ["_orig_mod in the middle", (name) => name.replace("layers.0.", "layers.0._orig_mod.")],
    ["one unknown part", (name) => `student.${name}`],
  ];
  for (const [what, rename] of wrappers)
    it(`weights are found behind ${what}`, () => {
      const opened = openCheckpoint(writeTorch(tensorsOf(raw, rename)), { config });
      assertSame(opened.checkpoint.raw, raw);
      assert.deepEqual(
        opened.notes,
        what === "one unknown part" ? ['the weights are those behind "student."'] : [],
      );
    });

  for (const part of ["ema", "model_ema", "ema_model", "ema_helper.shadow", "swa"])
    it(`the average is found behind ${part}`, () => {
      const tensors = new Map([
        ...tensorsOf(raw, (name) => `model.${name}`),
        ...tensorsOf(average, (name) => `${part}.module.${name}`),
      ]);
      const { checkpoint } = openCheckpoint(writeSafetensors(tensors), { config });
      assertSame(checkpoint.raw, raw);
      assertSame(checkpoint.ema!, average);
    });

  it("other models are named, several models and doubled weights refused", () => {
    const data = new Float32Array(1);
    const file = (...names: string[]): Uint8Array =>
      writeSafetensors(names.map((name) => [name, { dtype: "F32", shape: [1], data }] as const));
    assert.throws(
      () =>
        openCheckpoint(
          file("model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.q_proj.weight"),
        ),
      FileFormatError,
      /2 tensors are those of a language model of Llama's kind; they are named model\.layers\.N\.self_attn/,
    );
    const embedding = "inner.embed_tokens.embedding_weight";
    assert.throws(
      () => openCheckpoint(file(`a.${embedding}`, `b.${embedding}`)),
      FileFormatError,
      /several models, named a, b/,
    );
    assert.throws(() => openCheckpoint(file(embedding, `module.${embedding}`)), FileFormatError, /twice/);
  });

  it("a parameter of another type is refused, by name; float64 is rounded and said", () => {
    const changed = tensorsOf(raw, (name) => name);
    const head = changed.get("inner.lm_head.weight")!;
    const as = (dtype: "I32" | "F64"): Uint8Array => {
      const values =
        dtype === "I32" ? new Int32Array(head.data.length) : Float64Array.from(head.data as Float32Array);
      const bytes = new Uint8Array(values.buffer);
      const tensor = {
        dtype,
        shape: head.shape,
        data: dtype === "I32" ? values : bytes,
      } as SafetensorsTensor;
      return writeSafetensors(new Map([...changed, ["inner.lm_head.weight", tensor]]));
    };
    assert.throws(() => openCheckpoint(as("I32"), { config }), FileFormatError, /dtype I32.*lm_head/);
    const { checkpoint, notes } = openCheckpoint(as("F64"), { config });
    assertSame(checkpoint.raw, raw);
    assert.deepEqual(notes, ["1 tensors of float64 were rounded to f32"]);
  });

  const broken: readonly (readonly [what: string, state: SessionSnapshot, message: RegExp])[] = [
    [
      "a counter at another step",
      run({}, [7, 21]),
      /counter says seed 7, step 21; its run says seed 7, step 20/,
    ],
    ["a counter of another seed", run({}, [8, 20]), /counter says seed 8/],
    ["a step past the plan", run({ step: 101 }, [7, 101]), /step 101 is past its last step 100/],
    [
      "a NaN among the moments",
      run({
        state: new Map([...run().state, ["exp_avg.inner.H_init", hostTensor(Float32Array.of(1, NaN), [2])]]),
      }),
      /1 of its 2 numbers are NaNs or infinities.*exp_avg/,
    ],
  ];
  for (const [what, state, message] of broken)
    it(`a run's file with ${what} is refused`, () => {
      const bytes = encodeCheckpoint(runCheckpoint(state, { task: "grid-1x6-v7" }));
      assert.throws(() => decodeCheckpoint(bytes), FileFormatError, message);
    });
});

describe("official configurations", () => {
  let folder: string;
  before(async () => (folder = await mkdtemp(join(tmpdir(), "hrm-config-"))));
  after(() => rm(folder, { recursive: true, force: true }));
  const YAML = `arch:
  name: hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1
  loss: {name: losses@ACTLossHead, loss_type: softmax_cross_entropy}
  H_cycles: 3
  hidden_size: 32
  num_heads: 4
  puzzle_emb_ndim: \${.hidden_size}
  pos_encodings: rope
  rms_norm_eps: 1.0e-05
global_batch_size: 384
epochs: 100
lr: 1e-4
`;
  const FIELDS = {
    ...{ H_cycles: 3, hidden_size: 32, num_heads: 4, puzzle_emb_ndim: 32, pos_encodings: "rope" },
    ...{ rms_norm_eps: 1e-5, causal: false, loss_type: "softmax_cross_entropy", batch_size: 384, lr: 1e-4 },
  };

  it("are read as YAML and as JSON, found beside a checkpoint, and what is not used is said", async () => {
    const yaml = join(folder, "all_config.yaml");
    assert.isNull(await configBeside(join(folder, "step_7")));
    await writeFile(yaml, YAML);
    assert.equal(await configBeside(join(folder, "step_7")), yaml);
    const { result, printed } = await quietly(() => readConfigFile(yaml));
    assert.deepEqual(result, FIELDS);
    assert.match(printed, /not used: arch\.name, epochs\n$/);
    const { puzzle_emb_ndim, loss_type, batch_size, lr, ...arch } = FIELDS;
    const json = {
      arch: { ...arch, puzzle_emb_ndim, loss: { loss_type } },
      global_batch_size: batch_size,
      lr,
    };
    await writeFile(join(folder, "c.json"), JSON.stringify(json));
    assert.deepEqual(await readConfigFile(join(folder, "c.json")), FIELDS);
  });

  it("of TRM tell its network, its halting, how far its gradient goes and its average", async () => {
    await writeFile(
      join(folder, "trm.yaml"),
      `arch:
  name: recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1
  loss: {name: losses@ACTLossHead, loss_type: stablemax_cross_entropy}
  H_cycles: 3
  L_cycles: 6
  H_layers: 0
  L_layers: 2
  mlp_t: true
  puzzle_emb_len: 16
  pos_encodings: none
  forward_dtype: bfloat16
  no_ACT_continue: true
ema: true
ema_rate: 0.999
`,
    );
    const { result, printed } = await quietly(() => readConfigFile(join(folder, "trm.yaml")));
    assert.deepEqual(result, {
      ...{ arch: "trm", H_cycles: 3, L_cycles: 6, L_layers: 2, bp_steps: 7, halt_only: true },
      ...{ mlp_t: true, puzzle_emb_len: 16, pos_encodings: "none", ema_decay: 0.999, ema_warmup: false },
      ...{ causal: false, loss_type: "stablemax_cross_entropy" },
    });
    assert.match(printed, /not used: arch\.forward_dtype\n$/);
  });

  it("that are no configuration are refused in one short line", async () => {
    const nested = Array.from(
      { length: 30 },
      (_, i) => `a${i}: &a${i} [${`*a${i - 1},`.repeat(i ? 9 : 0)}]`,
    ).join("\n");
    for (const [text, message] of [
      ["arch: [1, 2", /is neither JSON nor YAML/],
      [nested, /is neither JSON nor YAML|unknown field/],
      ["just words", /holds "just words"/],
      [`"${"\\u001b[31m".repeat(10)}${"x".repeat(1e5)}": 1`, /not JSON|unknown field/],
      ["{", /line 1 is not JSON/],
    ] as const) {
      await writeFile(join(folder, "bad.yaml"), text);
      const error = await rejection(readConfigFile(join(folder, "bad.yaml")));
      assert.match(error.message, message);
      assert.isBelow(error.message.length, 500);
      assert.notInclude(error.message, "\u001b");
    }
  });
});

describe("foreign text", () => {
  const escape = "\u001b[2J\u009b31m\u202e\u0007\r\n";
  it("is escaped and short, however it is shown", () => {
    for (const text of [
      formatValue(escape),
      formatText(escape),
      formatNames([escape]),
      formatValue([escape]),
    ])
      assert.notMatch(text, /[\u0000-\u001f\u007f-\u009f\u202e]/);
    for (const text of [
      formatValue("x".repeat(1e6)),
      formatText("\u0007".repeat(1e6)),
      formatValue(Array(1e6).fill("y")),
    ])
      assert.isAtMost(text.length, 60);
    assert.equal(formatNames(["a", "b", "c"], 2), "a, b and 1 more");
    assert.equal(formatText("Größe 数独 🙂"), "Größe 数独 🙂");
  });

  it("gives a terminal no commands in whole lines; only colours pass, if asked for", () => {
    assert.equal(printable("a\nb\tc\u001b[2J\r"), "a\nb\tc\\u001b[2J\\r");
    assert.equal(
      printable("\u001b[31mred\u001b[0m\u001b[2J", { color: true }),
      "\u001b[31mred\u001b[0m\\u001b[2J",
    );
  });

  it("does not make an error long: a key, a class and a tensor's name that are long", () => {
    const long = "k".repeat(5e4);
    const tensor = { dtype: "F32", shape: [1], data: new Float32Array(1) } as const;
    for (const bytes of [writeTorch([[long, tensor]]), writeSafetensors([[`${long}\u001b[2J`, tensor]])]) {
      try {
        openCheckpoint(bytes);
        assert.fail("it was read");
      } catch (error) {
        assert.instanceOf(error, FileFormatError);
        assert.isBelow((error as Error).message.length, 500);
        assert.notInclude((error as Error).message, "\u001b");
      }
    }
  });
});
