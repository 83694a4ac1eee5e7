/** Replays the primitives: each operation forward and backward, the optimizers, the schedule, the initialiser. */
import {
  attention,
  bceWithLogits,
  compile,
  concat,
  constant,
  crossEntropy,
  f32,
  grad,
  hostTensor,
  linear,
  matmul,
  mul,
  reshape,
  rmsNorm,
  rope,
  silu,
  slice,
  sum,
  swiglu,
  takeRows,
  truncatedNormal,
  variable,
  zeros,
  type Device,
  type Tensor,
} from "../../engine/index.js";
import { adamAtan2Step, signSgdRowsStep } from "../../engine/optimizers.js";
import { trainConfig } from "../model/config.js";
import { learningRate } from "../training/schedule.js";
import { largest, type Checker } from "./check.js";
import { readJson, readTensors, type ReadFile, type Tensors } from "./format.js";

/** A case of primitives.json. */
interface PrimitiveCase {
  readonly op: string;
  readonly inputs?: readonly string[];
  readonly outputs?: readonly string[];
  readonly grads?: readonly string[];
  readonly attrs?: Readonly<Record<string, number | string | boolean>>;
  readonly fp32_err?: Readonly<Record<string, number>>;
  readonly scale?: Readonly<Record<string, number>>;
}

type Forward = (
  inputs: Readonly<Record<string, Tensor>>,
  attrs: NonNullable<PrimitiveCase["attrs"]>,
) => Record<string, Tensor>;

/** [B, S, H, D] three times becomes [B, S, 3 H D]. */
function pack(parts: readonly Tensor[]): Tensor {
  const [B, S, H, D] = parts[0]!.shape as [number, number, number, number];
  return reshape(
    concat(
      parts.map((t) => reshape(t, [B, S, 1, H * D])),
      2,
    ),
    [B, S, 3 * H * D],
  );
}

const FORWARD: Readonly<Record<string, Forward>> = {
  rms_norm: ({ x }, { eps }) => ({ y: rmsNorm(x!, { eps: eps as number }) }),
  apply_rotary_pos_emb({ q, k, cos, sin }) {
    const [B, S, H, D] = q!.shape as [number, number, number, number];
    const turned = reshape(rope(pack([q!, k!, k!]), cos!, sin!, { heads: H }), [B, S, 3, H, D]);
    const third = (i: number): Tensor => reshape(slice(turned, [0, 0, i, 0, 0], [B, S, 1, H, D]), q!.shape);
    return { q_out: third(0), k_out: third(1) };
  },
  flash_attn_func({ q, k, v }, { causal }) {
    return {
      o: reshape(attention(pack([q!, k!, v!]), { heads: q!.shape[2]!, causal: causal as boolean }), q!.shape),
    };
  },
  SwiGLU: ({ x, gate_up_proj, down_proj }) => ({ y: linear(swiglu(linear(x!, gate_up_proj!)), down_proj!) }),
  stablemax_ce: ({ logits, labels }) => ({
    loss: crossEntropy(logits!, labels!, { kind: "stablemax" }).loss,
  }),
  softmax_ce: ({ logits, labels }) => ({ loss: crossEntropy(logits!, labels!, { kind: "softmax" }).loss }),
  CastedEmbedding: ({ ids, weight }) => ({ y: takeRows(weight!, ids!) }),
  "F.linear": ({ x, w }) => ({ y: linear(x!, w!) }),
  "torch.matmul": ({ a, b }) => ({ y: matmul(a!, b!) }),
  "CastedLinear(bias)": ({ x, w, b }) => ({ y: linear(x!, w!, b) }),
  "F.silu": ({ x }) => ({ y: silu(x!) }),
  "F.binary_cross_entropy_with_logits(none)": ({ x, target }) => ({ loss: bceWithLogits(x!, target!) }),
};

/** Replays primitives.json and primitives.safetensors. */
export async function replayPrimitives(device: Device, read: ReadFile, check: Checker): Promise<void> {
  const cases = (await readJson(read, "primitives.json")) as Record<string, PrimitiveCase>;
  const tensors = await readTensors(read, "primitives.safetensors");
  for (const [name, description] of Object.entries(cases)) {
    const forward = FORWARD[description.op];
    if (forward) await replayOperation(device, name, description, forward, tensors, check);
    else if (Array.isArray(description)) replaySchedule(description as ScheduleCase[], check);
    else if ("stats" in description)
      replayTruncatedNormal(description as unknown as { stats: NormalCase[] }, check);
    else if (description.op === "torch.argmax") await replayArgmax(device, name, tensors, check);
    else if (description.op === "AdamATan2") await replayAdam(device, name, description, tensors, check);
    else if (description.op.endsWith("signsgd_dist"))
      await replaySignSgd(device, name, description, tensors, check);
    else check.bound(name, Infinity, 0, `no replay for ${description.op}`);
  }
}

async function replayOperation(
  device: Device,
  name: string,
  description: PrimitiveCase,
  forward: Forward,
  tensors: Tensors,
  check: Checker,
): Promise<void> {
  const { inputs = [], outputs = [], grads = [], attrs = {}, fp32_err = {}, scale = {} } = description;
  const leaf = (key: string): Tensor => {
    const { data, shape } = tensors.get(`${name}.${key}`)!;
    return constant(data, shape);
  };
  const given = Object.fromEntries(inputs.map((key) => [key, leaf(key)]));
  const program = await compile(
    device,
    {},
    () => {
      const results = forward(given, attrs);
      const projections = outputs.map((key) => sum(mul(results[key]!, leaf(`d_${key}`))));
      const total = projections.reduce((a, b) => add2(a, b));
      const wrt = grads.map((key) => given[key.slice(2)]!);
      const gradients = grad(total, wrt);
      return { ...results, ...Object.fromEntries(grads.map((key, i) => [key, gradients[i]!])) };
    },
    { name },
  );
  await program.run();
  for (const key of [...outputs, ...grads]) {
    const expected = tensors.get(`${name}.${key}`)!.data;
    const size = scale[key] ?? largest(expected);
    // Saturated attention: probabilities of 1 - 1e-8 leave gradients that cancel.
    const saturated =
      description.op === "flash_attn_func" &&
      (key === "d_q" || key === "d_k") &&
      (fp32_err[key] ?? 0) > 1e-6 * size;
    const allowed = Math.max(1e-6, (saturated ? 1e-4 : 3e-6) * size + 10 * (fp32_err[key] ?? 0));
    check.close(`${name} ${key}`, await program.read(key), expected, allowed);
  }
  program.destroy();
}

const add2 = (a: Tensor, b: Tensor): Tensor => sum(concat([reshape(a, [1]), reshape(b, [1])], 0));

async function replayArgmax(device: Device, name: string, tensors: Tensors, check: Checker): Promise<void> {
  const { data, shape } = tensors.get(`${name}.logits`)!;
  const program = await compile(device, {}, () => ({
    index: crossEntropy(constant(data, shape), constant(new Int32Array(shape[0]!))).prediction,
  }));
  await program.run();
  check.exact(name, await program.read("index"), tensors.get(`${name}.index`)!.data);
  program.destroy();
}

async function replayAdam(
  device: Device,
  name: string,
  description: PrimitiveCase,
  tensors: Tensors,
  check: Checker,
): Promise<void> {
  const { betas, weight_decay } = description as unknown as { betas: [number, number]; weight_decay: number };
  const get = (key: string): Float32Array => tensors.get(`${name}.${key}`)!.data as Float32Array;
  if (name.includes("inside")) {
    check.bound(
      name,
      0,
      0,
      "another optimizer (bias correction inside atan2), given for reference: not replayed",
    );
    return;
  }
  const count = get("p0").length;
  const parameter = variable(device, hostTensor(get("p0"), [count]), "p");
  const expAvg = variable(device, zeros([count]), "m");
  const expAvgSq = variable(device, zeros([count]), "v");
  const options = { beta1: betas[0], beta2: betas[1], weightDecay: weight_decay };
  const program = await compile(
    device,
    { g: f32(count), hyper: f32(4) },
    ({ g, hyper }) => adamAtan2Step([{ parameter, expAvg, expAvgSq }], [g], hyper, options),
    { name },
  );
  // Column 6 squares to a denormal, which devices may flush: implementation-defined.
  const defined = (values: ArrayLike<number>): number[] => Array.from(values).filter((_, i) => i !== 6);
  const lrs = get("lrs");
  for (let t = 1; t <= lrs.length; t++) {
    const hyper = Float32Array.of(lrs[t - 1]!, 1 / (1 - betas[0] ** t), 1 / Math.sqrt(1 - betas[1] ** t), 0);
    await program.run({ g: get("grads").slice((t - 1) * count, t * count), hyper });
    const expected = get("p_per_step").slice((t - 1) * count, t * count);
    check.relative(`${name} p after step ${t}`, defined(await parameter.read()), defined(expected), 3e-6);
  }
  check.relative(`${name} exp_avg`, defined(await expAvg.read()), defined(get("exp_avg")), 3e-6);
  check.relative(`${name} exp_avg_sq`, defined(await expAvgSq.read()), defined(get("exp_avg_sq")), 3e-6);
  program.destroy();
  for (const v of [parameter, expAvg, expAvgSq]) v.destroy();
}

async function replaySignSgd(
  device: Device,
  name: string,
  description: PrimitiveCase,
  tensors: Tensors,
  check: Checker,
): Promise<void> {
  const { lr, weight_decay } = description as unknown as { lr: number; weight_decay: number };
  const get = (key: string) => tensors.get(`${name}.${key}`)!;
  const table = variable(device, get("weights"), "weights");
  const leaf = (key: string): Tensor => constant(get(key).data, get(key).shape);
  const program = await compile(device, {}, () =>
    signSgdRowsStep(table, leaf("local_ids"), leaf("local_grad"), constant([lr, 0, 0, 0]), weight_decay),
  );
  await program.run();
  check.relative(`${name} weights_after`, await table.read(), get("weights_after").data, 3e-7);
  program.destroy();
  table.destroy();
}

interface ScheduleCase {
  readonly args: {
    readonly base_lr: number;
    readonly num_warmup_steps: number;
    readonly num_training_steps: number;
    readonly min_ratio: number;
  };
  readonly steps: readonly number[];
  readonly lr: readonly number[];
}

function replaySchedule(cases: readonly ScheduleCase[], check: Checker): void {
  cases.forEach(({ args, steps, lr }, i) => {
    const config = trainConfig({
      lr: args.base_lr,
      lr_warmup_steps: args.num_warmup_steps,
      total_steps: args.num_training_steps,
      lr_min_ratio: args.min_ratio,
    });
    const ours = steps.map((t) => learningRate(config, args.base_lr, t));
    check.close(`lr_schedule.${i}`, ours, lr, 1e-12);
  });
}

interface NormalCase {
  readonly std_requested: number;
  readonly bound: number;
  readonly quantiles: Readonly<Record<string, number>>;
}

function replayTruncatedNormal({ stats }: { readonly stats: readonly NormalCase[] }, check: Checker): void {
  const n = 1 << 18;
  stats.forEach(({ std_requested: std, bound, quantiles }, i) => {
    const values = (truncatedNormal([n], std, { seed: 1, stream: i }).data as Float32Array).sort();
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / n);
    // Five standard errors: of a deviation std/sqrt(2n); of a quantile sqrt(q(1-q)/n) over the density, at most 6 std/sqrt(n) here.
    check.bound(`trunc_normal.${i} std`, Math.abs(deviation - std), (5 * std) / Math.sqrt(2 * n));
    check.bound(`trunc_normal.${i} beyond bound`, Math.max(0, largest(values) - bound * 1.0001), 0);
    for (const [q, value] of Object.entries(quantiles)) {
      check.bound(
        `trunc_normal.${i} quantile ${q}`,
        Math.abs(values[Math.floor(Number(q) * n)]! - value),
        (5 * 6 * std) / Math.sqrt(n),
      );
    }
  });
}
