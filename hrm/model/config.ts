/**
 * The configuration, under the official names, checked before anything is built from it. The file is longer than 400 lines
 * because every field has its doc comment, its default and its rule.
 */
import { blockedLines, charactersOf } from "./characters.js";
import {
  belowOne,
  boolean,
  checked,
  ConfigError,
  fraction,
  LARGEST_COUNT,
  natural,
  notNegative,
  oneOf,
  positive,
  positiveInteger,
  repeats,
  type Rule,
} from "./field_rules.js";

export { ConfigError, LARGEST_COUNT } from "./field_rules.js";

/** The model; names, meanings and defaults are those of the official implementation (hrm_act_v1.py). */
export interface HrmConfig {
  /**
   * Which networks update which latents: `hrm` has two networks and two latents; `trm` updates both latents with
   * one network, `L_level`; `trm_singlez` has one network and one latent (arXiv 2510.04871). Official default `hrm`.
   * Ours, as baselines with the network `L_level` alone: `l_only` has one latent, and all H_cycles (L_cycles + 1)
   * updates are z = net(z + x); `transformer` has no recursion, z = net(x), so that the cycles and `bp_steps` mean nothing.
   */
  readonly arch: "hrm" | "trm" | "trm_singlez" | "l_only" | "transformer";
  /** Rows of a batch, B. */
  readonly batch_size: number;
  /** Cells of a puzzle, S. */
  readonly seq_len: number;
  /** Number of tokens, V; token 0 is padding. */
  readonly vocab_size: number;
  /** Width of the puzzle embedding; 0 for no puzzle embedding. */
  readonly puzzle_emb_ndim: number;
  /** Prefix positions that hold the puzzle embedding, padded with zeros. 0 means as few as the embedding needs (official HRM). */
  readonly puzzle_emb_len: number;
  /** Rows of the table of puzzle embeddings. */
  readonly num_puzzle_identifiers: number;
  /** Updates of the H level in a segment. */
  readonly H_cycles: number;
  /** Updates of the L level before each update of the H level. */
  readonly L_cycles: number;
  /**
   * How many of the last updates of a segment, in the order they run, carry the gradient: 2 is official HRM (the last
   * of z_L and the last of z_H), L_cycles + 1 the whole last cycle (TRM). Memory for activations grows with it.
   */
  readonly bp_steps: number;
  /** Blocks of the H level's network. */
  readonly H_layers: number;
  /** Blocks of the L level's network. */
  readonly L_layers: number;
  /** Width of the states, D. */
  readonly hidden_size: number;
  /** SwiGLU has the inner size expansion * hidden_size * 2/3, rounded up to a multiple of `swiglu_multiple`; official 4. */
  readonly expansion: number;
  /** Attention heads; they divide hidden_size. */
  readonly num_heads: number;
  /** Mix positions by a SwiGLU along the sequence instead of attention (TRM). The weights then fit one sequence length. */
  readonly mlp_t: boolean;
  /** Official are rope, learned and TRM's none; `rotaryAngles` explains the other two. With `mlp_t` no positions are rotary. */
  readonly pos_encodings: "rope" | "learned" | "none" | "rope2d" | "rope2d_boxes";
  /** Ours: factor on the initial standard deviation of learned positions; official 1. */
  readonly pos_init_scale: number;
  /** Added to the mean square in RMS norm; official 1e-5. */
  readonly rms_norm_eps: number;
  /** Base of the rotary frequencies (arXiv 2104.09864); official 10000. */
  readonly rope_theta: number;
  /** Ours: angle in radians by which the fastest pair of a head turns from one position to the next (rope, rope2d); official 1. */
  readonly rope_frequency: number;
  /** Ours: rows and columns of the task's grid, whose product is seq_len; 0 if the cells form no grid. */
  readonly grid_rows: number;
  /** Columns of the task's grid; see `grid_rows`. */
  readonly grid_columns: number;
  /** Ours: rows and columns of the boxes of a Sudoku grid; 0 if there are no boxes. */
  readonly box_rows: number;
  /** Columns of the boxes; see `box_rows`. */
  readonly box_columns: number;
  /** Segments after which a row halts in any case; official 16. */
  readonly halt_max_steps: number;
  /** Ours: default number of segments in evaluation and solving; 0 (official) means halt_max_steps. */
  readonly inference_segments: number;
  /**
   * Ours: in evaluation and solving, the answer of a row is that of its segment with the highest q_halt so far. If false
   * (official), it is the answer of the last segment.
   */
  readonly keep_best_answer: boolean;
  /** Probability that a row must run a random number of segments, from 2 to halt_max_steps, before it may halt; official 0.1. */
  readonly halt_exploration_prob: number;
  /** False in every published model. */
  readonly causal: boolean;
  /** Loss over cells: of stablemax (official) or softmax. */
  readonly loss_type: "stablemax_cross_entropy" | "softmax_cross_entropy";
  /** Ours: the SwiGLU inner size is rounded up to a multiple of this; official 256. */
  readonly swiglu_multiple: number;
  /** Ours: halt on q_halt > 0 and learn no q_continue, which saves the second forward; official false. */
  readonly halt_only: boolean;
  /** Ours: a row takes its latents to its next segment (official). If false, every segment starts from H_init and L_init. */
  readonly carry_latents: boolean;
}

/** The official defaults. Sizes without an official default are those of the 27M Sudoku model. */
export const defaultConfig: HrmConfig = {
  arch: "hrm",
  batch_size: 384,
  seq_len: 81,
  vocab_size: 11,
  puzzle_emb_ndim: 0,
  puzzle_emb_len: 0,
  num_puzzle_identifiers: 1,
  H_cycles: 2,
  L_cycles: 2,
  bp_steps: 2,
  H_layers: 4,
  L_layers: 4,
  hidden_size: 512,
  expansion: 4,
  num_heads: 8,
  mlp_t: false,
  pos_encodings: "rope",
  pos_init_scale: 1,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  rope_frequency: 1,
  grid_rows: 0,
  grid_columns: 0,
  box_rows: 0,
  box_columns: 0,
  halt_max_steps: 16,
  inference_segments: 0,
  keep_best_answer: false,
  halt_exploration_prob: 0.1,
  causal: false,
  loss_type: "stablemax_cross_entropy",
  swiglu_multiple: 256,
  halt_only: false,
  carry_latents: true,
};

/** How the model is trained. Fields that the official code has keep its names. */
export interface TrainConfig {
  /** Learning rate after the warm-up. */
  readonly lr: number;
  /** Fraction of lr at the end. */
  readonly lr_min_ratio: number;
  /** Steps over which the learning rate rises linearly from 0. */
  readonly lr_warmup_steps: number;
  /** Steps of the run, on which the schedule depends. */
  readonly total_steps: number;
  /** Decoupled weight decay: at each step weights shrink by lr times this. */
  readonly weight_decay: number;
  /** Decay of the first moment, in [0, 1). */
  readonly beta1: number;
  /** Decay of the second moment, in [0, 1). */
  readonly beta2: number;
  /** Learning rate of the puzzle embedding, which sign-SGD trains. */
  readonly puzzle_emb_lr: number;
  /** Decoupled weight decay of the puzzle embedding. */
  readonly puzzle_emb_weight_decay: number;
  /** `cosine` is official; `linear` stays constant until `lr_decay_start` of the steps, then falls linearly. */
  readonly lr_schedule: "cosine" | "linear";
  /** Share of the steps after which the linear schedule falls; from 0 to 1. */
  readonly lr_decay_start: number;
  /** Decay of the moving average of the weights; 0 for no average (official HRM). TRM has 0.999. */
  readonly ema_decay: number;
  /**
   * True (ours): the decay at step t is min(ema_decay, (1 + t) / (10 + t)), and the puzzle embedding is averaged, too.
   * False (TRM): the decay is constant from the first step, and the puzzle embedding is not averaged.
   */
  readonly ema_warmup: boolean;
  /** Ours: row b of the first batch starts at segment b mod halt_max_steps, so that batches mix all depths; official false. */
  readonly staggered_starts: boolean;
  /** Ours: train on random symmetric images of the puzzles, drawn for every batch. Official data sets are augmented beforehand. */
  readonly augment: boolean;
}

/** The official training defaults (pretrain.py, config/cfg_pretrain.yaml). */
export const defaultTrainConfig: TrainConfig = {
  lr: 1e-4,
  lr_min_ratio: 1,
  lr_warmup_steps: 2000,
  total_steps: 10000,
  weight_decay: 0.1,
  beta1: 0.9,
  beta2: 0.95,
  puzzle_emb_lr: 1e-2,
  puzzle_emb_weight_decay: 0.1,
  lr_schedule: "cosine",
  lr_decay_start: 0.8,
  ema_decay: 0,
  ema_warmup: true,
  staggered_starts: false,
  augment: false,
};

/** Segments that a puzzle runs in evaluation and solving. */
export const inferenceSegments = ({
  inference_segments,
  halt_max_steps,
}: Pick<HrmConfig, "inference_segments" | "halt_max_steps">): number => inference_segments || halt_max_steps;

/** Sizes that follow from a configuration. */
export interface Derived {
  /** Prefix positions that hold the puzzle embedding: puzzle_emb_len, or ceil(puzzle_emb_ndim / hidden_size). */
  readonly puzzleLength: number;
  /** seq_len plus the prefix. */
  readonly totalLength: number;
  /** Width of an attention head: hidden_size / num_heads. */
  readonly headDim: number;
  /** Inner size of SwiGLU. */
  readonly innerSize: number;
  /** Inner size of the SwiGLU along the sequence (`mlp_t`). */
  readonly sequenceInnerSize: number;
}

/** Sizes that follow from a configuration. */
export function derive(config: HrmConfig): Derived {
  const puzzleLength = config.puzzle_emb_len || Math.ceil(config.puzzle_emb_ndim / config.hidden_size);
  const totalLength = config.seq_len + puzzleLength;
  return {
    puzzleLength,
    totalLength,
    headDim: config.hidden_size / config.num_heads,
    innerSize: swigluSize(config, config.hidden_size),
    sequenceInnerSize: swigluSize(config, totalLength),
  };
}

/** Inner size of a SwiGLU over vectors of `size`: rounded to an integer (half to even), then up to a multiple of swiglu_multiple. */
export function swigluSize(
  { expansion, swiglu_multiple }: Pick<HrmConfig, "expansion" | "swiglu_multiple">,
  size: number,
): number {
  const exact = (expansion * size * 2) / 3;
  const below = Math.floor(exact);
  const rounded = exact - below === 0.5 && below % 2 === 0 ? below : Math.round(exact);
  return Math.ceil(rounded / swiglu_multiple) * swiglu_multiple;
}

/** Updates in one segment: each of H_cycles has L_cycles updates of z_L and one update of z_H. A `transformer` has one. */
export const levelUpdates = ({
  arch,
  H_cycles,
  L_cycles,
}: Pick<HrmConfig, "arch" | "H_cycles" | "L_cycles">): number =>
  arch === "transformer" ? 1 : H_cycles * (L_cycles + 1);

/** True if z_H and z_L are one latent. */
export const hasOneLatent = ({ arch }: Pick<HrmConfig, "arch">): boolean => arch !== "hrm" && arch !== "trm";

const MODEL_RULES: Record<keyof HrmConfig, Rule> = {
  arch: oneOf("hrm", "trm", "trm_singlez", "l_only", "transformer"),
  batch_size: positiveInteger,
  seq_len: positiveInteger,
  vocab_size: positiveInteger,
  puzzle_emb_ndim: natural,
  puzzle_emb_len: natural,
  num_puzzle_identifiers: positiveInteger,
  H_cycles: repeats,
  L_cycles: repeats,
  bp_steps: positiveInteger,
  H_layers: repeats,
  L_layers: repeats,
  hidden_size: positiveInteger,
  expansion: positive,
  num_heads: positiveInteger,
  mlp_t: boolean,
  pos_encodings: oneOf("rope", "learned", "none", "rope2d", "rope2d_boxes"),
  pos_init_scale: positive,
  rms_norm_eps: positive,
  rope_theta: positive,
  rope_frequency: positive,
  grid_rows: natural,
  grid_columns: natural,
  box_rows: natural,
  box_columns: natural,
  halt_max_steps: positiveInteger,
  inference_segments: natural,
  keep_best_answer: boolean,
  halt_exploration_prob: fraction,
  causal: boolean,
  loss_type: oneOf("stablemax_cross_entropy", "softmax_cross_entropy"),
  swiglu_multiple: positiveInteger,
  halt_only: boolean,
  carry_latents: boolean,
};

const TRAIN_RULES: Record<keyof TrainConfig, Rule> = {
  lr: positive,
  lr_min_ratio: fraction,
  lr_warmup_steps: natural,
  total_steps: positiveInteger,
  weight_decay: notNegative,
  beta1: belowOne,
  beta2: belowOne,
  puzzle_emb_lr: notNegative,
  puzzle_emb_weight_decay: notNegative,
  lr_schedule: oneOf("cosine", "linear"),
  lr_decay_start: fraction,
  ema_decay: belowOne,
  ema_warmup: boolean,
  staggered_starts: boolean,
  augment: boolean,
};

/** A whole model configuration from some of its fields. @throws ConfigError */
export function modelConfig(given: Partial<HrmConfig>): HrmConfig {
  const config = checked(given, defaultConfig, MODEL_RULES);
  if (config.hidden_size % config.num_heads !== 0) {
    throw new ConfigError("num_heads", config.num_heads, `a divisor of hidden_size (${config.hidden_size})`);
  }
  if (derive(config).innerSize > LARGEST_COUNT)
    throw new ConfigError("expansion", config.expansion, `a SwiGLU inner size of at most ${LARGEST_COUNT}`);
  checkGrid(config);
  checkPositions(config);
  checkSegments(config);
  if (config.arch !== "transformer" && config.bp_steps > levelUpdates(config))
    throw new ConfigError(
      "bp_steps",
      config.bp_steps,
      `at most ${levelUpdates(config)}, the updates of ${config.H_cycles} H cycles with ${config.L_cycles} L cycles each`,
    );
  const { puzzle_emb_ndim: width, puzzle_emb_len: positions, hidden_size } = config;
  if (positions > 0 && (width === 0 || positions * hidden_size < width))
    throw new ConfigError(
      "puzzle_emb_len",
      positions,
      width === 0
        ? "0 without a puzzle embedding (puzzle_emb_ndim 0)"
        : `0, or at least ${Math.ceil(width / hidden_size)} positions for puzzle_emb_ndim ${width}`,
    );
  return config;
}

/** @throws ConfigError if a model without recursion runs more than one segment: every segment would compute the same */
function checkSegments({ arch, halt_max_steps, inference_segments }: HrmConfig): void {
  if (arch !== "transformer") return;
  const because = 'for arch "transformer", which has no state to go on from in a second segment';
  if (halt_max_steps > 1) throw new ConfigError("halt_max_steps", halt_max_steps, `1 ${because}`);
  if (inference_segments > 1)
    throw new ConfigError("inference_segments", inference_segments, `0 or 1 ${because}`);
}

/** @throws ConfigError if the grid has another number of cells than the sequence, or the boxes do not tile the grid */
function checkGrid({ seq_len, grid_rows, grid_columns, box_rows, box_columns }: HrmConfig): void {
  if (grid_rows * grid_columns !== seq_len && (grid_rows > 0 || grid_columns > 0))
    throw new ConfigError(
      "grid_rows",
      grid_rows,
      `grid_rows x grid_columns (${grid_columns}) = seq_len (${seq_len}), or 0 for both if the cells do not form a grid`,
    );
  for (const [field, lines, grid] of [
    ["box_rows", box_rows, grid_rows],
    ["box_columns", box_columns, grid_columns],
  ] as const)
    if (lines > 0 ? grid === 0 || grid % lines !== 0 : box_rows + box_columns > 0)
      throw new ConfigError(
        field,
        lines,
        `a divisor of the grid's ${grid}, or 0 for both sides without boxes`,
      );
}

/** @throws ConfigError if these positions are impossible with this grid or head size */
function checkPositions(config: HrmConfig): void {
  const { pos_encodings: kind, hidden_size, num_heads, grid_rows, box_rows } = config;
  if (kind === "learned" || kind === "none" || config.mlp_t) return;
  const headSize = hidden_size / num_heads;
  const heads = (expected: string): ConfigError =>
    new ConfigError("num_heads", num_heads, `${expected} for ${kind}, not ${headSize}`);
  if (headSize % 2 !== 0) throw heads("an even head size");
  if (kind === "rope") return;
  if (headSize % 4 !== 0) throw heads("a head size divisible by 4");
  if (grid_rows === 0)
    throw new ConfigError("pos_encodings", kind, '"rope" or "learned", as the task has no rows and columns');
  if (kind !== "rope2d_boxes") return;
  if (box_rows === 0)
    throw new ConfigError("pos_encodings", kind, '"rope2d", "rope" or "learned", as the task has no boxes');
  const { rows, columns } = blockedLines(config);
  const smallest = 4 * Math.max(charactersOf(rows).length, charactersOf(columns).length);
  if (headSize < smallest) throw heads(`a head size of at least ${smallest}`);
}

/** A whole training configuration from some of its fields. @throws ConfigError */
export function trainConfig(given: Partial<TrainConfig>): TrainConfig {
  return checked(given, defaultTrainConfig, TRAIN_RULES);
}

/** True if positions are rows and columns of a grid, so that the grid's shape changes what the model computes. */
export const isInGrid = ({ pos_encodings: kind }: Partial<HrmConfig>): boolean =>
  kind === "rope2d" || kind === "rope2d_boxes";

/** True for a field of the model configuration. */
export const isModelField = (field: string): field is keyof HrmConfig => Object.hasOwn(MODEL_RULES, field);
/** True for a field of the training configuration. */
export const isTrainField = (field: string): field is keyof TrainConfig => Object.hasOwn(TRAIN_RULES, field);

/** True if micro-batches of `rows` rows divide the batch into equal parts. */
export const isMicroBatch = (rows: number, { batch_size }: Pick<HrmConfig, "batch_size">): boolean =>
  Number.isInteger(rows) && rows > 0 && batch_size % rows === 0;
