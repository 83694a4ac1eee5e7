/**
 * Weights of the official implementation, and any checkpoint at all: the state dicts of `pretrain.py` (PyTorch files, or
 * safetensors made of them) have no configuration beside them. What shapes tell is read from shapes; the rest is given.
 */
import { hostTensor } from "../engine/index.js";
import { decodeCheckpoint, type Checkpoint } from "./checkpoint.js";
import { ConfigError, defaultConfig, isInGrid, modelConfig, type HrmConfig } from "./config.js";
import { FileFormatError } from "./files/file_format_error.js";
import { readSafetensors, widenToF32, type SafetensorsTensor } from "./files/safetensors.js";
import { isSealed } from "./files/seal.js";
import { isTorch, readTorch } from "./files/torch.js";
import {
  parameterSpecs,
  POSITION_EMBEDDING,
  PUZZLE_EMBEDDING,
  TOKEN_EMBEDDING,
  type StateDict,
} from "./parameters.js";
import { gridOf } from "./task_fields.js";
import { taskOfShape } from "./tasks/registry.js";

/** What official names begin with: a compiled model in its loss head, the loss head alone, nothing. */
const PREFIXES = ["_orig_mod.model.", "model.", "_orig_mod.", ""];

/** Prefix that `evaluate.py` of the official code accepts for compiled and plain models alike. */
export const OFFICIAL_PREFIX = PREFIXES[0]!;

/** Tensors by name, of a PyTorch file or a safetensors file. @throws FileFormatError */
export function readTensorFile(bytes: Uint8Array): ReadonlyMap<string, SafetensorsTensor> {
  return isTorch(bytes) ? readTorch(bytes) : readSafetensors(bytes).tensors;
}

/**
 * The weights among these tensors under their official names, widened to f32 exactly.
 * @throws FileFormatError where none is there
 */
export function officialState(tensors: ReadonlyMap<string, SafetensorsTensor>): StateDict {
  const prefix = PREFIXES.find((p) => tensors.has(`${p}${TOKEN_EMBEDDING}`));
  if (prefix === undefined) {
    const names = [...tensors.keys()].slice(0, 4).join(", ");
    throw new FileFormatError(
      "checkpoint",
      `no tensor ${TOKEN_EMBEDDING}, also not behind ${PREFIXES[0]} or ${PREFIXES[1]}; it has ${names || "no tensors"}; expected a state dict of the Hierarchical Reasoning Model`,
    );
  }
  const state = new Map<string, StateDict extends ReadonlyMap<string, infer T> ? T : never>();
  for (const [name, tensor] of tensors) {
    if (!name.startsWith(`${prefix}inner.`)) continue;
    const short = name.slice(prefix.length);
    state.set(short, hostTensor(widenToF32(tensor, name), tensor.shape));
  }
  return state;
}

/** A configuration, and which of its fields nobody gave and no shape tells. */
export interface InferredConfig {
  readonly config: HrmConfig;
  /** Fields that kept their default. */
  readonly assumed: readonly (keyof HrmConfig)[];
}

/** Fields that no shape tells but that decide what the weights compute. */
export const UNTOLD_FIELDS = [
  "num_heads",
  "H_cycles",
  "L_cycles",
  "halt_max_steps",
  "seq_len",
  "rms_norm_eps",
  "pos_encodings",
  "rope_theta",
  "causal",
] as const satisfies readonly (keyof HrmConfig)[];

/** The grid that positions in two dimensions need: the one given, else that of the task of this shape. */
function gridFor(given: Partial<HrmConfig>, vocabSize: number): Partial<HrmConfig> {
  const { seq_len, grid_rows } = given;
  if (!isInGrid(given) || grid_rows !== undefined || seq_len === undefined) return {};
  return gridOf(taskOfShape(seq_len, vocabSize));
}

/**
 * The configuration of these weights: sizes from their shapes, the rest from `given`, else the official defaults. Rotary
 * positions have no weights, so that `given` says which kind they are; without it they are the official ones.
 * @throws ConfigError where `given` contradicts a shape; FileFormatError where a weight is missing
 */
export function inferConfig(state: StateDict, given: Partial<HrmConfig> = {}): InferredConfig {
  const shape = (name: string): readonly [number, number] => {
    const found = state.get(name)?.shape;
    if (!found || found.length !== 2)
      throw new FileFormatError(
        "checkpoint",
        found ? `got shape [${found.join(", ")}]; expected two sizes` : "is missing",
        {
          tensor: name,
        },
      );
    return [found[0]!, found[1]!];
  };
  const layers = (level: string): number => {
    let count = 0;
    while (state.has(`inner.${level}.layers.${count}.mlp.down_proj.weight`)) count++;
    return count;
  };
  const [vocab_size, hidden_size] = shape(TOKEN_EMBEDDING);
  const puzzle = state.has(PUZZLE_EMBEDDING) ? shape(PUZZLE_EMBEDDING) : null;
  const puzzle_emb_ndim = puzzle?.[1] ?? 0;
  const positions = state.has(POSITION_EMBEDDING) ? shape(POSITION_EMBEDDING)[0] : null;
  const told: Partial<HrmConfig> = {
    vocab_size,
    hidden_size,
    puzzle_emb_ndim,
    ...(puzzle && { num_puzzle_identifiers: puzzle[0] }),
    H_layers: layers("H_level"),
    L_layers: layers("L_level"),
    ...(positions !== null && { pos_encodings: "learned" }),
    ...(positions === null && given.pos_encodings === "learned" && { pos_encodings: "rope" }),
    ...(positions !== null && { seq_len: positions - Math.ceil(puzzle_emb_ndim / hidden_size) }),
  };
  for (const [field, value] of Object.entries(told) as [keyof HrmConfig, HrmConfig[keyof HrmConfig]][]) {
    if (given[field] !== undefined && given[field] !== value)
      throw new ConfigError(field, given[field], `${JSON.stringify(value)}, as the weights have it`);
  }
  const [, inner] = shape("inner.H_level.layers.0.mlp.down_proj.weight");
  const config = modelConfig({
    // Official models keep heads of 64; a smaller model has at least one.
    num_heads: Math.max(1, Math.round(hidden_size / 64)),
    ...gridFor(given, vocab_size),
    ...given,
    ...told,
    ...expansionOf(inner, hidden_size, given),
  });
  for (const spec of parameterSpecs(config)) {
    const got = state.get(spec.name)?.shape;
    if (got?.join() !== spec.shape.join()) {
      throw new FileFormatError(
        "checkpoint",
        `${got ? `has shape [${got.join(", ")}]` : "is missing"}; expected [${spec.shape.join(", ")}], as the other weights imply`,
        { tensor: spec.name },
      );
    }
  }
  return {
    config,
    assumed: UNTOLD_FIELDS.filter((field) => given[field] === undefined && told[field] === undefined),
  };
}

/** Expansion and rounding that give this inner size: those given, the official ones, or an expansion made to fit. */
function expansionOf(
  inner: number,
  hidden: number,
  given: Partial<HrmConfig>,
): Pick<HrmConfig, "expansion" | "swiglu_multiple"> {
  const { expansion = defaultConfig.expansion, swiglu_multiple = defaultConfig.swiglu_multiple } = given;
  const size = Math.ceil(Math.round((expansion * hidden * 2) / 3) / swiglu_multiple) * swiglu_multiple;
  return size === inner
    ? { expansion, swiglu_multiple }
    : { expansion: (3 * inner) / (2 * hidden), swiglu_multiple: 1 };
}

/** What to make of a file of weights alone. */
export interface OpenOptions {
  /** Fields that its shapes do not tell. */
  readonly config?: Partial<HrmConfig>;
  /** Name of the task that the weights belong to; default: the one that sequence length and vocabulary are those of. */
  readonly task?: string;
}

/** A checkpoint, however it was written. */
export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Fields of the configuration that neither the file nor the options tell: worth a warning. */
  readonly assumed: readonly (keyof HrmConfig)[];
}

/**
 * Opens our checkpoints, the official PyTorch files, and safetensors files of a state dict.
 * @throws FileFormatError on anything else; ConfigError where options contradict the weights
 */
export function openCheckpoint(
  bytes: Uint8Array,
  { config: given, task }: OpenOptions = {},
): OpenedCheckpoint {
  if (isOurs(bytes)) return { checkpoint: decodeCheckpoint(bytes), assumed: [] };
  const raw = officialState(readTensorFile(bytes));
  const { config, assumed } = inferConfig(raw, given);
  if (task === undefined && assumed.includes("seq_len"))
    throw new FileFormatError(
      "checkpoint",
      "the file holds weights alone, and nothing tells how many cells a puzzle has; say which task they are for (--preset), or seq_len and what else their shapes do not tell (--config)",
    );
  const name = task ?? taskOfShape(config.seq_len, config.vocab_size).name;
  return { checkpoint: { config, task: name, step: 0, seed: null, raw, ema: null }, assumed };
}

/** True for a checkpoint that {@link encodeCheckpoint} wrote, whole or torn, however little of it is left to read. */
export function isOurs(bytes: Uint8Array): boolean {
  if (isTorch(bytes)) return false;
  return isSealed(bytes) || readSafetensors(bytes).metadata["format"] === "hrm-webgpu";
}
