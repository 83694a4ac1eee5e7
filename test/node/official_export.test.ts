/** What is exported for the official code, read back by an independent float64 forward pass. */
import { assert } from "chai";
import { parse } from "yaml";
import { compile, i32, UsageError, type Tensor } from "../../engine/index.js";
import {
  createCarry,
  createWeights,
  destroyCarry,
  derive,
  evaluationSegment,
  initialState,
  modelConfig,
  modelOf,
  trainConfig,
} from "../../hrm/index.js";
import { readTorch } from "../../hrm/files/index.js";
import {
  officialExport,
  unofficialOptions,
  type OfficialRun,
} from "../../hrm/files/checkpoints/official_export.js";
import { openCheckpoint } from "../../hrm/files/checkpoints/official.js";
import { readDataset } from "../../hrm/files/puzzles/index.js";
import { testDevice } from "../support/device.js";
import { randomIntegers } from "../support/random.js";
import { randomPuzzles } from "../support/tiny.js";

const B = 2;
const config = modelConfig({
  ...{ batch_size: B, seq_len: 6, vocab_size: 7, puzzle_emb_ndim: 10, num_puzzle_identifiers: 4 },
  ...{ H_cycles: 2, L_cycles: 2, H_layers: 1, L_layers: 2, hidden_size: 8, num_heads: 2, halt_max_steps: 3 },
});
const train = trainConfig({ lr: 3e-7, lr_warmup_steps: 5, total_steps: 40, weight_decay: 1 });

/** Weights without the zeros of the first step. */
const state = new Map(
  [...initialState(config, 3)].map(([name, tensor]) => [
    name,
    { ...tensor, data: tensor.data.map((v, i) => v + 0.01 * Math.sin(i + name.length)) },
  ]),
);
const trainingSet = {
  ...randomPuzzles(8, config, 1),
  groups: indices([0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 3, 8]),
};
const heldOut = new Map([
  ["validation", randomPuzzles(3, config, 2)],
  ["test", randomPuzzles(5, config, 4)],
]);
const run: OfficialRun = { config, train, state, step: 12, seed: 6, evalEvery: 10, trainingSet, heldOut };
const options = { dataPath: "/data/of run", forwardDtype: "float32", leaveOut: [] } as const;

function indices(puzzles: number[], groups: number[]) {
  return { puzzleIndices: Int32Array.from(puzzles), groupIndices: Int32Array.from(groups) };
}

type Matrix = number[][];

/**
 * One evaluation after another of the official forward pass (hrm_act_v1.py, layers.py), in float64 and by its own names: the
 * logits [segments][S][V] and the two Q values of each segment.
 */
function forward64(
  tensors: ReadonlyMap<string, { shape: readonly number[]; data: ArrayBufferView }>,
  arch: Record<string, number>,
  row: { inputs: Int32Array; identifier: number },
  segments: number,
) {
  const found = new Map<string, Matrix>();
  const get = (name: string): Matrix => {
    const known = found.get(name);
    if (known) return known;
    const { shape, data } = tensors.get(`_orig_mod.model.inner.${name}`)!;
    const flat = new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4);
    const width = shape.at(-1)!;
    return Array.from({ length: flat.length / width }, (_, i) => [...flat.slice(i * width, (i + 1) * width)]);
  };
  const D = arch["hidden_size"]!;
  const linear = (x: Matrix, w: Matrix): Matrix =>
    x.map((v) => w.map((r) => r.reduce((sum, c, i) => sum + c * v[i]!, 0)));
  const sum = (a: Matrix, b: Matrix): Matrix => a.map((r, i) => r.map((v, j) => v + b[i]![j]!));
  const rms = (x: Matrix): Matrix =>
    x.map((r) => r.map((v) => v / Math.sqrt(r.reduce((s, c) => s + c * c, 0) / D + arch["rms_norm_eps"]!)));
  const width = D / arch["num_heads"]!;
  const rotate = (v: number[], position: number): number[] =>
    v.map((value, i) => {
      const half = width / 2;
      const angle = position / arch["rope_theta"]! ** ((2 * (i % half)) / width);
      const other = i < half ? -v[i + half]! : v[i - half]!;
      return value * Math.cos(angle) + other * Math.sin(angle);
    });
  const attend = (x: Matrix, prefix: string): Matrix => {
    const qkv = linear(x, get(`${prefix}.self_attn.qkv_proj.weight`));
    const out: Matrix = x.map(() => []);
    for (let h = 0; h < arch["num_heads"]!; h++) {
      const part = (which: number): Matrix =>
        qkv.map((r) => r.slice(which * D + h * width, which * D + (h + 1) * width));
      const [q, k, v] = [part(0).map(rotate), part(1).map(rotate), part(2)];
      q.forEach((query, i) => {
        const scores = k.map((key) =>
          Math.exp(key.reduce((s, c, d) => s + c * query[d]!, 0) / Math.sqrt(width)),
        );
        const total = scores.reduce((a, b) => a + b);
        for (let d = 0; d < width; d++)
          out[i]!.push(scores.reduce((s, e, j) => s + (e / total) * v[j]![d]!, 0));
      });
    }
    return linear(out, get(`${prefix}.self_attn.o_proj.weight`));
  };
  const mlp = (x: Matrix, prefix: string): Matrix => {
    const both = linear(x, get(`${prefix}.mlp.gate_up_proj.weight`));
    const inner = both[0]!.length / 2;
    const active = both.map((r) => r.slice(0, inner).map((g, i) => (g / (1 + Math.exp(-g))) * r[inner + i]!));
    return linear(active, get(`${prefix}.mlp.down_proj.weight`));
  };
  const level = (name: string, layers: number, x: Matrix): Matrix => {
    for (let i = 0; i < layers; i++) {
      x = rms(sum(x, attend(x, `${name}.layers.${i}`)));
      x = rms(sum(x, mlp(x, `${name}.layers.${i}`)));
    }
    return x;
  };
  const puzzle = [...get("puzzle_emb.weights")[row.identifier]!];
  while (puzzle.length % D) puzzle.push(0);
  const prefix = Array.from({ length: puzzle.length / D }, (_, i) => puzzle.slice(i * D, (i + 1) * D));
  const tokens = get("embed_tokens.embedding_weight");
  const x = [...prefix, ...[...row.inputs].map((token) => tokens[token]!)].map((r) =>
    r.map((v) => v * Math.sqrt(D)),
  );
  let [zH, zL] = [x.map(() => get("H_init")[0]!), x.map(() => get("L_init")[0]!)];
  return Array.from({ length: segments }, () => {
    for (let h = 0; h < arch["H_cycles"]!; h++) {
      for (let l = 0; l < arch["L_cycles"]!; l++)
        zL = level("L_level", arch["L_layers"]!, sum(zL, sum(zH, x)));
      zH = level("H_level", arch["H_layers"]!, sum(zH, zL));
    }
    const q = linear([zH[0]!], get("q_head.weight"))[0]!.map((v, i) => v + get("q_head.bias")[0]![i]!);
    return { logits: linear(zH, get("lm_head.weight")).slice(prefix.length), q };
  });
}

/** Our logits and Q values of each segment, from the device. */
async function ours(inputs: Int32Array, identifiers: Int32Array, segments: number) {
  const device = await testDevice();
  const weights = createWeights(device, config, state);
  const carry = createCarry(device, config);
  const program = await compile(
    device,
    { inputs: i32(B, 6), labels: i32(B, 6), identifiers: i32(B) },
    (batch): Record<string, Tensor> => {
      const { logits, qHalt, qContinue } = evaluationSegment(
        modelOf(config, weights),
        carry,
        batch,
        100,
      ).segment;
      return { logits, qHalt, qContinue };
    },
  );
  const results = [];
  for (let s = 0; s < segments; s++) {
    await program.run({ inputs, labels: new Int32Array(B * 6), identifiers });
    results.push({
      logits: await program.read("logits"),
      q: [await program.read("qHalt"), await program.read("qContinue")],
    });
  }
  program.destroy();
  destroyCarry(carry);
  for (const v of weights.values()) v.destroy();
  return results;
}

describe("the export for the official code", () => {
  it("holds weights that an independent float64 forward pass turns into our logits", async () => {
    const { files, checkpoint } = officialExport(run, options);
    assert.equal(checkpoint, "step_12");
    const tensors = readTorch(files.get(checkpoint)!);
    const { arch } = parse(text(files, "all_config.yaml")) as { arch: Record<string, number> };
    const inputs = Int32Array.from(randomIntegers(B * 6, 0, 7));
    const identifiers = Int32Array.of(1, 3);
    const got = await ours(inputs, identifiers, 3);
    for (let row = 0; row < B; row++) {
      const puzzle = { inputs: inputs.slice(row * 6, row * 6 + 6), identifier: identifiers[row]! };
      forward64(tensors, arch, puzzle, 3).forEach(({ logits, q }, segment) => {
        const largest = Math.max(...logits.flat().map(Math.abs));
        // The goldens' tolerance for outputs: 1e-4 of the tensor's largest value.
        logits.flat().forEach((want, i) => {
          assert.closeTo(
            got[segment]!.logits[row * 42 + i]!,
            want,
            1e-4 * largest,
            `row ${row}, segment ${segment}, logit ${i}`,
          );
        });
        q.forEach((want, i) => assert.closeTo(got[segment]!.q[i]![row]!, want, 1e-3, `q ${i}`));
      });
    }
  });

  const text = (files: ReadonlyMap<string, Uint8Array>, name: string): string =>
    new TextDecoder().decode(files.get(name));

  it("rounds the initial states to bfloat16 where the official code computes in it, and nothing else", () => {
    const { files, notes } = officialExport(run, { ...options, forwardDtype: "bfloat16" });
    assert.include(notes.join(), "H_init and L_init are rounded to bfloat16");
    const tensors = readTorch(files.get("step_12")!);
    for (const [name, { data }] of state) {
      const { dtype, data: bytes } = tensors.get(`_orig_mod.model.${name}`)!;
      const fixed = /[HL]_init$/.test(name);
      assert.equal(dtype, fixed ? "BF16" : "F32", name);
      if (!fixed) assert.deepEqual(bytes as Float32Array, data as Float32Array, name);
    }
    const opened = openCheckpoint(files.get("step_12")!, { config: { seq_len: 6, num_heads: 2 }, task: "x" });
    const back = opened.checkpoint.raw.get("inner.H_init")!.data;
    state
      .get("inner.H_init")!
      .data.forEach((v, i) =>
        assert.isAtMost(Math.abs(back[i]! - v), 2 ** (Math.floor(Math.log2(Math.abs(v))) - 8)),
      );
  });

  it("describes the run in all_config.yaml, in epochs that its steps are", () => {
    const { files, totalSteps, notes } = officialExport(run, options);
    // An epoch is one example of each of the 2 groups: a step of 2 rows.
    assert.equal(totalSteps, 40);
    assert.deepEqual(notes, []);
    const yaml = text(files, "all_config.yaml");
    // PyYAML takes a number with an exponent for text unless it has a point.
    assert.include(yaml, "\nlr: 3.0e-7\n");
    const { arch, ...rest } = parse(yaml) as { arch: Record<string, unknown> };
    assert.deepInclude(rest, {
      ...{
        data_path: "/data/of run",
        global_batch_size: 2,
        epochs: 40,
        eval_interval: 10,
        lr: 3e-7,
        lr_min_ratio: 1,
      },
      ...{ lr_warmup_steps: 5, weight_decay: 1, beta1: 0.9, beta2: 0.95, puzzle_emb_lr: 0.01, seed: 6 },
    });
    assert.deepEqual(arch["loss"], { name: "losses@ACTLossHead", loss_type: "stablemax_cross_entropy" });
    assert.deepInclude(arch, {
      name: "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1",
      L_layers: 2,
      expansion: 4,
    });
    const odd = officialExport({ ...run, train: { ...train, total_steps: 41 }, evalEvery: 7 }, options);
    assert.match(odd.notes.join(), /42 of them are 42 steps, not 41/);
  });

  it("writes a data set folder that is read back equal", async () => {
    const { files } = officialExport(run, options);
    const read = (part: string) =>
      readDataset((name) => Promise.resolve(files.get(`data/${part}/${name}`) ?? null));
    const { set, metadata } = await read("train");
    assert.deepEqual(set, trainingSet);
    assert.deepInclude(metadata, { num_puzzle_identifiers: 4, vocab_size: 7, total_groups: 2 });
    const test = await read("test");
    assert.deepEqual(test.metadata.sets, ["validation", "test"]);
    assert.deepEqual([...test.counts], [3, 5]);
    const parts = [...heldOut.values()];
    for (const field of ["inputs", "labels", "identifiers"] as const)
      assert.deepEqual(
        [...test.set[field]],
        parts.flatMap((part) => [...part[field]]),
        field,
      );
  });

  it("refuses every option without an official counterpart by name", () => {
    const unlike = modelConfig({
      ...{
        ...config,
        puzzle_emb_ndim: 0,
        num_puzzle_identifiers: 1,
        bp_steps: 3,
        swiglu_multiple: 8,
        halt_only: true,
      },
      ...{
        pos_encodings: "rope2d",
        grid_rows: 2,
        grid_columns: 3,
        num_heads: 2,
        inference_segments: 9,
        keep_best_answer: true,
        rope_frequency: 2,
      },
    });
    const training = trainConfig({
      ...train,
      lr_schedule: "linear",
      lr_min_ratio: 0.1,
      ema_decay: 0.9,
      staggered_starts: true,
    });
    const names = unofficialOptions(unlike, training).map(({ field }) => field);
    assert.deepEqual(names, [
      ...(["puzzle_emb_ndim", "bp_steps", "pos_encodings", "swiglu_multiple", "halt_only"] as const),
      ...(["inference_segments", "keep_best_answer"] as const),
      ...(["lr_schedule", "ema_decay", "staggered_starts"] as const),
    ]);
    const refused = (leaveOut: readonly string[]): string => {
      try {
        officialExport({ ...run, train: training }, { ...options, leaveOut });
      } catch (error) {
        assert.instanceOf(error, UsageError);
        return (error as Error).message;
      }
      return "";
    };
    assert.match(
      refused([]),
      /lr_schedule linear \(it has cosine\); ema_decay 0\.9 .*; staggered_starts true/,
    );
    assert.notInclude(refused(["ema_decay", "staggered_starts"]), "ema_decay");
    assert.equal(refused(["ema_decay", "staggered_starts", "lr_schedule"]), "");
    assert.deepEqual(unofficialOptions(config, train), []);
    for (const fields of [
      { arch: "trm" },
      { causal: true },
      { puzzle_emb_len: 4 },
      { rope_frequency: 2 },
    ] as const)
      assert.deepEqual(
        unofficialOptions({ ...config, ...fields }, train).map(({ field }) => field),
        Object.keys(fields),
      );
    assert.isAbove(derive(config).innerSize, 8);
  });
});
