/**
 * Opens checkpoints of the official implementation, and our own. The state dicts of `pretrain.py` (PyTorch files, or
 * safetensors made from them) come without a configuration. Sizes follow from shapes; the caller gives the other fields.
 */
import { hostTensor } from "../../../engine/index.js";
import { decodeCheckpoint, type Checkpoint } from "./checkpoint.js";
import {
  ConfigError,
  defaultConfig,
  isInGrid,
  modelConfig,
  swigluSize,
  type HrmConfig,
} from "../../model/config.js";
import { FileFormatError } from "../file_format_error.js";
import { pointerProblem } from "../unsupported_formats.js";
import { readSafetensors, widenToF32, type SafetensorsTensor } from "../tensors/safetensors.js";
import { isSealed } from "./seal.js";
import { isTorch, readTorch, SAVE_ANEW } from "../tensors/torch.js";
import {
  findAmong,
  findWeights,
  OFFICIAL_PREFIX,
  type FoundWeights,
  type NamedTensors,
} from "./found_weights.js";
import {
  parameterSpecs,
  POSITION_EMBEDDING,
  PUZZLE_EMBEDDING,
  TOKEN_EMBEDDING,
  type StateDict,
} from "../../model/parameters.js";
import { formatValue, formatNames } from "../../format_value.js";
import { gridOf } from "../../model/task_fields.js";
import { taskOfShape } from "../../puzzles/tasks/registry.js";

export { OFFICIAL_PREFIX };

/** Reads the tensors of a PyTorch or safetensors file, by name. @throws FileFormatError */
export function readTensorFile(bytes: Uint8Array): ReadonlyMap<string, SafetensorsTensor> {
  return isTorch(bytes) ? readTorch(bytes) : readSafetensors(bytes).tensors;
}

/**
 * The weights among these tensors under their official names, as f32: F32, BF16 and F16 exactly, F64 rounded. Wrappers'
 * parts of names (`module.`, `_orig_mod.`, `model.`) are removed wherever they occur. Tensors of other types are ignored.
 * @throws FileFormatError if there are no weights
 */
export function officialState(tensors: ReadonlyMap<string, SafetensorsTensor>): StateDict {
  const { raw, average } = findAmong(tensors);
  const weights = [...(raw ?? average)!].filter(([, { dtype }]) => FLOATS.has(dtype));
  return new Map(weights.map(([name, t]) => [name, hostTensor(widenToF32(t, name), t.shape)]));
}

const FLOATS: ReadonlySet<string> = new Set(["F64", "F32", "F16", "BF16"]);

/** A configuration, and its fields that were neither given nor follow from a shape. */
export interface InferredConfig {
  /** The whole configuration. */
  readonly config: HrmConfig;
  /** Fields that kept their default. */
  readonly assumed: readonly (keyof HrmConfig)[];
}

/** Tensors of which only the shapes are used. */
type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** Fields that do not follow from shapes but change what the weights compute. */
export const UNTOLD_FIELDS = [
  "puzzle_emb_len",
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

/**
 * What a model of known configuration adds to weights that fit it: the fields that do not follow from their shapes. The weights
 * themselves show whether positions are learned.
 */
export function untoldFields(model: HrmConfig): Partial<HrmConfig> {
  const { pos_encodings, vocab_size, rope_frequency, inference_segments, keep_best_answer } = model;
  const { grid_rows, grid_columns, box_rows, box_columns } = model;
  const untold: Partial<HrmConfig> = Object.fromEntries(UNTOLD_FIELDS.map((field) => [field, model[field]]));
  if (pos_encodings === "learned") delete (untold as Record<string, unknown>)["pos_encodings"];
  const grid = { grid_rows, grid_columns, box_rows, box_columns };
  return { ...untold, ...grid, vocab_size, rope_frequency, inference_segments, keep_best_answer };
}

/** Defaults of the official TRM code (config/arch/trm.yaml) for fields that do not follow from shapes. */
const TRM_DEFAULTS = {
  H_cycles: 3,
  L_cycles: 6,
  puzzle_emb_len: 16,
  halt_only: true,
} as const satisfies Partial<HrmConfig>;

/** The grid for two-dimensional positions: the given grid, else the grid of the task with this shape. */
function gridFor(given: Partial<HrmConfig>, vocabSize: number): Partial<HrmConfig> {
  const { seq_len, grid_rows } = given;
  if (!isInGrid(given) || grid_rows !== undefined || seq_len === undefined) return {};
  return gridOf(taskOfShape(seq_len, vocabSize));
}

/**
 * The configuration of these weights. Sizes follow from shapes; other fields come from `given`, else from the official
 * defaults. Rotary positions have no weights, so `given` says which kind they are; the default is the official kind.
 * @throws ConfigError if `given` contradicts a shape; FileFormatError if a weight is missing
 */
export function inferConfig(state: Shapes, given: Partial<HrmConfig> = {}): InferredConfig {
  const shape = (name: string): readonly [number, number] => {
    const found = state.get(name)?.shape;
    if (!found || found.length !== 2)
      throw new FileFormatError(
        "checkpoint",
        found ? `got shape ${formatValue(found)}; expected two sizes` : "is missing",
        {
          tensor: name,
        },
      );
    return [found[0]!, found[1]!];
  };
  // A layer counts if it has any tensor, so that a missing tensor in the last layer is an error and not a smaller model.
  const layers = (level: string): number => {
    const numbers = new Set<string>();
    for (const name of state.keys())
      if (name.startsWith(`inner.${level}.layers.`)) numbers.add(name.split(".")[3]!);
    return numbers.size;
  };
  const [vocab_size, hidden_size] = shape(TOKEN_EMBEDDING);
  const puzzle = state.has(PUZZLE_EMBEDDING) ? shape(PUZZLE_EMBEDDING) : null;
  const puzzle_emb_ndim = puzzle?.[1] ?? 0;
  const arch = layers("H_level") > 0 ? "hrm" : state.has("inner.H_init") ? "trm" : "trm_singlez";
  const mlp_t = state.has(`${FIRST_LAYER}.mlp_t.down_proj.weight`);
  const learned = state.has(POSITION_EMBEDDING);
  const rotary = !learned && !mlp_t;
  const positions = learned
    ? shape(POSITION_EMBEDDING)[0]
    : mlp_t
      ? shape(`${FIRST_LAYER}.mlp_t.down_proj.weight`)[0]
      : null;
  const ofArch = arch === "hrm" ? {} : TRM_DEFAULTS;
  const { seq_len, puzzle_emb_len } = sequenceOf(
    positions,
    { puzzle_emb_ndim, hidden_size },
    { ...ofArch, ...given },
  );
  const told: Partial<HrmConfig> = {
    arch,
    vocab_size,
    hidden_size,
    puzzle_emb_ndim,
    ...(puzzle && { num_puzzle_identifiers: puzzle[0] }),
    ...(arch === "hrm" && { H_layers: layers("H_level") }),
    L_layers: layers("L_level"),
    mlp_t,
    ...(learned && { pos_encodings: "learned" }),
    ...(rotary && given.pos_encodings === "learned" && { pos_encodings: "rope" }),
    ...(seq_len !== undefined && { seq_len }),
  };
  for (const [field, value] of Object.entries(told) as [keyof HrmConfig, HrmConfig[keyof HrmConfig]][]) {
    if (given[field] !== undefined && given[field] !== value)
      throw new ConfigError(field, given[field], `${JSON.stringify(value)}, as the weights have it`);
  }
  const fields: Partial<HrmConfig> = {
    // Official models have heads of size 64; a smaller model has one head.
    num_heads: Math.max(1, Math.round(hidden_size / 64)),
    ...ofArch,
    ...(arch !== "hrm" && { bp_steps: (given.L_cycles ?? TRM_DEFAULTS.L_cycles) + 1 }),
    ...(mlp_t && { pos_encodings: "none" }),
    ...gridFor(given, vocab_size),
    ...given,
    ...told,
    puzzle_emb_len,
  };
  const inner = {
    hidden: shape(`${FIRST_LAYER}.mlp.down_proj.weight`)[1],
    sequence: mlp_t ? shape(`${FIRST_LAYER}.mlp_t.down_proj.weight`)[1] : null,
  };
  const config = modelConfig({ ...fields, ...expansionOf(inner, hidden_size, positions ?? 0, given) });
  for (const spec of parameterSpecs(config)) {
    const got = state.get(spec.name)?.shape;
    if (got?.join() !== spec.shape.join()) {
      throw new FileFormatError(
        "checkpoint",
        `${got ? `has shape ${formatValue(got)}` : "is missing"}; expected ${formatValue(spec.shape)}, as the other weights imply`,
        { tensor: spec.name },
      );
    }
  }
  return {
    config,
    assumed: UNTOLD_FIELDS.filter((field) => given[field] === undefined && told[field] === undefined).filter(
      (field) =>
        field === "puzzle_emb_len"
          ? arch !== "hrm" && puzzle_emb_ndim > 0
          : !mlp_t || !["num_heads", "pos_encodings", "rope_theta", "causal"].includes(field),
    ),
  };
}

const FIRST_LAYER = "inner.L_level.layers.0";

/**
 * Numbers of cells and of prefix positions. `positions` is their sum, or null if it does not follow from a weight. One of
 * the two is given or known, and the other is the rest.
 */
function sequenceOf(
  positions: number | null,
  { puzzle_emb_ndim, hidden_size }: Pick<HrmConfig, "puzzle_emb_ndim" | "hidden_size">,
  { seq_len, puzzle_emb_len = 0 }: Partial<HrmConfig>,
): Pick<Partial<HrmConfig>, "seq_len"> & Pick<HrmConfig, "puzzle_emb_len"> {
  if (puzzle_emb_ndim === 0) return { puzzle_emb_len: 0, ...(positions !== null && { seq_len: positions }) };
  if (positions === null) return { puzzle_emb_len };
  const fewest = Math.ceil(puzzle_emb_ndim / hidden_size);
  if (seq_len !== undefined && seq_len + fewest <= positions) {
    const prefix = positions - seq_len;
    return { seq_len, puzzle_emb_len: prefix === fewest ? 0 : prefix };
  }
  return { seq_len: positions - (puzzle_emb_len || fewest), puzzle_emb_len };
}

/** Expansion and rounding that give these inner sizes: the given values, the official values, or an expansion that fits. */
function expansionOf(
  inner: { readonly hidden: number; readonly sequence: number | null },
  hidden: number,
  positions: number,
  given: Partial<HrmConfig>,
): Pick<HrmConfig, "expansion" | "swiglu_multiple"> {
  const { expansion = defaultConfig.expansion, swiglu_multiple } = given;
  const multiples = swiglu_multiple === undefined ? [256, 128, 64, 32, 16, 8, 4, 2, 1] : [swiglu_multiple];
  const multiple = multiples.find(
    (m) =>
      swigluSize({ expansion, swiglu_multiple: m }, hidden) === inner.hidden &&
      (inner.sequence === null ||
        swigluSize({ expansion, swiglu_multiple: m }, positions) === inner.sequence),
  );
  return multiple !== undefined
    ? { expansion, swiglu_multiple: multiple }
    : { expansion: (3 * inner.hidden) / (2 * hidden), swiglu_multiple: 1 };
}

/** What is known about a file that holds only weights. */
export interface OpenOptions {
  /** Fields that do not follow from its shapes. */
  readonly config?: Partial<HrmConfig>;
  /** Name of the task of the weights. The default is the task with the same sequence length and vocabulary. */
  readonly task?: string;
}

/** A checkpoint that was opened, whatever program wrote it. */
export interface OpenedCheckpoint {
  /** What the file holds. */
  readonly checkpoint: Checkpoint;
  /** Fields of the configuration that neither the file nor the options say, for a warning. */
  readonly assumed: readonly (keyof HrmConfig)[];
  /** True if the file holds only a moving average, which then serves as the raw weights, too. */
  readonly averageAlone: boolean;
  /** What was rounded, guessed or ignored, one clause each, for messages. */
  readonly notes: readonly string[];
}

/**
 * Opens our checkpoints, the official PyTorch files, and safetensors files of a state dict.
 * @throws FileFormatError on any other file; ConfigError if options contradict the weights
 */
export function openCheckpoint(
  bytes: Uint8Array,
  { config: given, task }: OpenOptions = {},
): OpenedCheckpoint {
  if (isOurs(bytes))
    return { checkpoint: decodeCheckpoint(bytes), assumed: [], averageAlone: false, notes: [] };
  const found = findWeights(bytes);
  const tensors = (found.raw ?? found.average)!;
  const { config, assumed } = inferFrom(found, tensors, given);
  if (task === undefined && assumed.includes("seq_len"))
    throw new FileFormatError(
      "checkpoint",
      "the file holds weights alone, and nothing tells how many cells a puzzle has; say which task they are for (--preset), or seq_len and what else their shapes do not tell (--config)",
    );
  const name = task ?? taskOfShape(config.seq_len, config.vocab_size).name;
  const raw = stateOf(config, tensors);
  const average = found.raw && found.average;
  const ema = found.average && (average ? averagedState(config, raw, average) : raw);
  return {
    checkpoint: { config, task: name, step: 0, seed: null, raw, ema },
    assumed,
    averageAlone: !found.raw,
    notes: notesOf(found, config),
  };
}

/** The configuration of the weights that were found. The error names a needed tensor that cannot be read. @throws FileFormatError, ConfigError */
function inferFrom(found: FoundWeights, tensors: NamedTensors, given?: Partial<HrmConfig>): InferredConfig {
  const layer = [...found.unreadable].find(([name]) => /^inner\.[HL]_level\./.test(name));
  if (layer)
    throw new FileFormatError("checkpoint", `is ${layer[1]}; expected a tensor; ${SAVE_ANEW}`, {
      tensor: layer[0],
    });
  try {
    return inferConfig(tensors, given);
  } catch (error) {
    const what = error instanceof FileFormatError && found.unreadable.get(error.tensor ?? "");
    if (!what) throw error;
    throw new FileFormatError("checkpoint", `is ${what}; expected a tensor; ${SAVE_ANEW}`, {
      tensor: error.tensor!,
    });
  }
}

/** The parameters of a configuration as f32. Other tensors are ignored. @throws FileFormatError */
function stateOf(config: HrmConfig, tensors: NamedTensors): StateDict {
  return new Map(
    parameterSpecs(config).map(({ name, shape }) => [
      name,
      hostTensor(widenToF32(tensors.get(name)!, name), shape),
    ]),
  );
}

/** The raw weights with their moving average in the place of each parameter that has one. @throws FileFormatError */
function averagedState(config: HrmConfig, raw: StateDict, average: NamedTensors): StateDict {
  const state = new Map(raw);
  for (const { name, shape } of parameterSpecs(config)) {
    const tensor = average.get(name);
    if (!tensor) continue;
    if (tensor.shape.join() !== shape.join())
      throw new FileFormatError(
        "checkpoint",
        `its moving average has shape ${formatValue(tensor.shape)}; expected ${formatValue(shape)}, as the weights have`,
        { tensor: name },
      );
    state.set(name, hostTensor(widenToF32(tensor, name), shape));
  }
  return state;
}

/** Notes about a file of weights. */
function notesOf({ raw, average, unused, behind }: FoundWeights, config: HrmConfig): string[] {
  const notes: string[] = [];
  const specs = parameterSpecs(config);
  const parameters = new Set(specs.map(({ name }) => name));
  if (behind !== null) notes.push(`the weights are those behind ${formatValue(`${behind}.`)}`);
  if (!raw) notes.push("the file holds the moving average (EMA) of weights alone, which is used");
  const without = specs.filter(({ name, update }) => update !== "fixed" && average && !average.has(name));
  if (raw && without.length > 0)
    notes.push(
      `the moving average lacks ${formatNames(without.map((s) => s.name))}: the raw ones are used there`,
    );
  const both = [...(raw ?? []), ...(average ?? [])];
  const rounded = both.filter(([name, { dtype }]) => dtype === "F64" && parameters.has(name)).length;
  if (rounded > 0) notes.push(`${rounded} tensors of float64 were rounded to f32`);
  const aside = new Set([
    ...unused,
    ...both.flatMap(([name, { dtype }]) => (parameters.has(name) ? [] : [`${name} (${dtype})`])),
  ]);
  if (aside.size > 0) notes.push(`not used: ${formatNames(aside)}`);
  return notes;
}

/** True for a checkpoint that {@link encodeCheckpoint} wrote, even if only a part of it is left. */
export function isOurs(bytes: Uint8Array): boolean {
  if (isTorch(bytes) || pointerProblem(bytes) !== null) return false;
  return isSealed(bytes) || readSafetensors(bytes).metadata["format"] === "hrm-webgpu";
}
