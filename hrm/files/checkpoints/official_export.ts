/**
 * A run in the form of the official code (sapientinc/HRM): the checkpoint that its evaluate.py loads, its all_config.yaml and its
 * data set folder.
 */
import { UsageError } from "../../../engine/errors.js";
import type { HostTensor } from "../../../engine/index.js";
import { swigluSize, type HrmConfig, type TrainConfig } from "../../model/config.js";
import { parameterSpecs, type StateDict } from "../../model/parameters.js";
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";
import { writeDatasetOf } from "../puzzles/dataset.js";
import type { SafetensorsTensor } from "../tensors/safetensors.js";
import { writeTorch } from "../tensors/torch_writer.js";
import { OFFICIAL_PREFIX } from "./found_weights.js";

/** What is exported. */
export interface OfficialRun {
  readonly config: HrmConfig;
  readonly train: TrainConfig;
  /** The weights, by official name. */
  readonly state: StateDict;
  /** Finished steps, which name the checkpoint. */
  readonly step: number;
  readonly seed: number;
  /** Steps between two looks at the test set. */
  readonly evalEvery: number;
  /** Training puzzles; images belong to the group of their puzzle. */
  readonly trainingSet: PuzzleSet;
  /** Held-out puzzles by the name of their set, such as `validation` and `test`. */
  readonly heldOut: ReadonlyMap<string, PuzzleSet>;
}

/** An option without a counterpart in the official code. */
export interface UnofficialOption {
  readonly field: keyof HrmConfig | keyof TrainConfig;
  readonly value: unknown;
  /** What the official code has instead. */
  readonly official: string;
  /** `weights`: the weights compute something else without the option. `training`: only further training or evaluation differs. */
  readonly concerns: "weights" | "training";
}

/** The options of a run that the official code does not have, in the order of the configuration. */
export function unofficialOptions(config: HrmConfig, train: TrainConfig): UnofficialOption[] {
  const found: UnofficialOption[] = [];
  const check = (
    holds: boolean,
    field: UnofficialOption["field"],
    official: string,
    concerns: UnofficialOption["concerns"] = "weights",
  ): void => {
    if (!holds)
      found.push({
        field,
        value: ({ ...config, ...train } as Record<string, unknown>)[field],
        official,
        concerns,
      });
  };
  const { hidden_size, expansion, pos_encodings: positions } = config;
  check(config.arch === "hrm", "arch", "hrm");
  check(
    config.puzzle_emb_ndim > 0,
    "puzzle_emb_ndim",
    "at least 1: its pretrain.py needs a puzzle embedding",
  );
  check(config.puzzle_emb_len === 0, "puzzle_emb_len", "0, as few positions as the embedding needs");
  check(config.bp_steps === 2, "bp_steps", "2", "training");
  check(!config.mlp_t, "mlp_t", "false");
  check(positions === "rope" || positions === "learned", "pos_encodings", "rope or learned");
  check(positions !== "rope" || config.rope_frequency === 1, "rope_frequency", "1");
  check(!config.causal, "causal", "false");
  check(config.carry_latents, "carry_latents", "true");
  const inner = swigluSize({ expansion, swiglu_multiple: 256 }, hidden_size);
  check(swigluSize(config, hidden_size) === inner, "swiglu_multiple", `256: an inner size of ${inner}`);
  check(!config.halt_only, "halt_only", "false", "training");
  const { inference_segments: segments, halt_max_steps } = config;
  check(
    segments === 0 || segments === halt_max_steps,
    "inference_segments",
    `halt_max_steps (${halt_max_steps})`,
    "training",
  );
  check(!config.keep_best_answer, "keep_best_answer", "false", "training");
  check(train.lr_schedule === "cosine" || train.lr_min_ratio === 1, "lr_schedule", "cosine", "training");
  check(train.ema_decay === 0, "ema_decay", "0", "training");
  check(!train.staggered_starts, "staggered_starts", "false", "training");
  return found;
}

/** How to export. */
export interface OfficialOptions {
  /** Where the data set folder will lie for the official code; relative paths start in its repository. */
  readonly dataPath: string;
  /** Type in which the official code computes. FlashAttention needs bfloat16; the initial states are then rounded to it. */
  readonly forwardDtype: "bfloat16" | "float32";
  /** Options of the kind `training` that the export may leave out. */
  readonly leaveOut: readonly string[];
}

/** The files of an export. */
export interface OfficialExport {
  /** Contents by path below the folder. The checkpoint comes last. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Name of the checkpoint, `step_N`. */
  readonly checkpoint: string;
  /** Steps that the official code will train, by its own rule. */
  readonly totalSteps: number;
  /** What differs from the run, one sentence each. */
  readonly notes: readonly string[];
}

/**
 * Writes a run for the official code. The data set folder is `data`, with the sets of `heldOut` in its test part.
 * @throws UsageError that names every option without an official counterpart
 */
export function officialExport(
  run: OfficialRun,
  { dataPath, forwardDtype, leaveOut }: OfficialOptions,
): OfficialExport {
  const { config, train, state, step, seed, trainingSet, heldOut, evalEvery } = run;
  const missing = unofficialOptions(config, train);
  const refused = missing.filter(
    ({ field, concerns }) => concerns === "weights" || !leaveOut.includes(field),
  );
  if (refused.length > 0)
    throw new UsageError(
      `officialExport: the official code has no counterpart for ${refused.map(({ field, value, official }) => `${field} ${String(value)} (it has ${official})`).join("; ")}.`,
    );
  const notes = missing.map(
    ({ field, value, official }) =>
      `${field} ${String(value)} is left out: the official code has ${official}`,
  );
  const groups = trainingSet.groups ? trainingSet.groups.groupIndices.length - 1 : trainingSet.count;
  const puzzles = trainingSet.groups ? trainingSet.groups.puzzleIndices.length - 1 : trainingSet.count;
  const perEpoch = (groups * (trainingSet.count / puzzles)) / config.batch_size;
  const { epochs, interval } = epochsOf(train.total_steps / perEpoch, evalEvery / perEpoch);
  const totalSteps = Math.floor(epochs * perEpoch);
  if (totalSteps !== train.total_steps)
    notes.push(
      `the official code counts epochs: ${epochs} of them are ${totalSteps} steps, not ${train.total_steps}`,
    );
  const { puzzle_emb_ndim, H_cycles, L_cycles, H_layers, L_layers, hidden_size, expansion, num_heads } =
    config;
  const { pos_encodings, rms_norm_eps, rope_theta, halt_max_steps, halt_exploration_prob, loss_type } =
    config;
  const {
    lr,
    lr_min_ratio,
    lr_warmup_steps,
    weight_decay,
    beta1,
    beta2,
    puzzle_emb_lr,
    puzzle_emb_weight_decay,
  } = train;
  const yaml = yamlOf({
    arch: {
      name: "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1",
      loss: { name: "losses@ACTLossHead", loss_type },
      ...{ H_cycles, L_cycles, H_layers, L_layers, hidden_size, expansion, num_heads, pos_encodings },
      ...{ puzzle_emb_ndim, rms_norm_eps, rope_theta, halt_max_steps, halt_exploration_prob },
      forward_dtype: forwardDtype,
    },
    data_path: dataPath,
    global_batch_size: config.batch_size,
    ...{ epochs, eval_interval: interval, checkpoint_every_eval: true },
    ...{
      lr,
      lr_min_ratio,
      lr_warmup_steps,
      weight_decay,
      beta1,
      beta2,
      puzzle_emb_lr,
      puzzle_emb_weight_decay,
      seed,
    },
  });
  const checkpoint = `step_${step}`;
  const tensors = parameterSpecs(config).map(({ name, update }): [string, SafetensorsTensor] => {
    const tensor = state.get(name)!;
    const rounds = update === "fixed" && forwardDtype === "bfloat16";
    return [OFFICIAL_PREFIX + name, rounds ? asBf16(tensor) : asF32(tensor)];
  });
  if (forwardDtype === "bfloat16")
    notes.push("H_init and L_init are rounded to bfloat16, the type that the official code keeps them in");
  const sizes = { vocabSize: config.vocab_size, numPuzzleIdentifiers: config.num_puzzle_identifiers };
  const text = (content: string): Uint8Array => new TextEncoder().encode(content);
  const files = new Map<string, Uint8Array>();
  for (const [name, bytes] of writeDatasetOf(new Map([["all", trainingSet]]), sizes))
    files.set(`data/train/${name}`, bytes);
  for (const [name, bytes] of writeDatasetOf(heldOut, sizes)) files.set(`data/test/${name}`, bytes);
  files.set("data/identifiers.json", text(JSON.stringify(["<blank>"])));
  files.set("all_config.yaml", text(yaml));
  files.set(checkpoint, writeTorch(tensors, { archive: checkpoint }));
  return { files, checkpoint, totalSteps, notes };
}

/** Whole epochs, and an interval between looks that divides them, as the official code requires. */
function epochsOf(wanted: number, between: number): { epochs: number; interval: number } {
  const looks = Math.max(1, Math.round(wanted / Math.max(between, 1e-9)));
  const interval = Math.max(1, Math.round(wanted / looks));
  return { epochs: Math.max(1, Math.round(wanted / interval)) * interval, interval };
}

const asF32 = ({ shape, data }: HostTensor): SafetensorsTensor => ({
  dtype: "F32",
  shape,
  data: data as Float32Array,
});

/** Rounded to bfloat16, ties to even. */
function asBf16({ shape, data }: HostTensor): SafetensorsTensor {
  const bits = new Uint32Array(Float32Array.from(data).buffer);
  const rounded = Uint16Array.from(bits, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16);
  return { dtype: "BF16", shape, data: new Uint8Array(rounded.buffer) };
}

type Yaml = { readonly [key: string]: string | number | boolean | Yaml };

/** A block of YAML 1.1, which PyYAML reads: numbers with an exponent get a point, without which they would be text. */
function yamlOf(fields: Yaml, indent = ""): string {
  return Object.keys(fields)
    .sort()
    .map((key) => {
      const value = fields[key]!;
      if (typeof value === "object") return `${indent}${key}:\n${yamlOf(value, `${indent}  `)}`;
      const number = String(value)
        .replace(/^(-?\d+)e/, "$1.0e")
        .replace(/e(\d)/, "e+$1");
      return `${indent}${key}: ${typeof value === "string" ? JSON.stringify(value) : number}\n`;
    })
    .join("");
}
