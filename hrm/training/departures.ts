/** The differences between a configuration and the official recipe, for the announcement of a run. */
import { defaultConfig, defaultTrainConfig, type HrmConfig, type TrainConfig } from "../model/config.js";
import { TASK_FIELDS } from "../model/task_fields.js";

/** Fields of the model and of training. */
export type RecipeFields = HrmConfig & TrainConfig;

/** A configuration whose fields are compared. */
export interface Configured {
  readonly model: HrmConfig;
  readonly train: TrainConfig;
}

/** Fields that follow from the puzzles or from the length of training, which no recipe fixes. */
const NOT_COMPARED: readonly (keyof RecipeFields)[] = [
  ...TASK_FIELDS,
  "num_puzzle_identifiers",
  "total_steps",
];

/** Sizes in which small models differ from the official model. One phrase names them all. */
const SIZES: readonly (keyof RecipeFields)[] = [
  "hidden_size",
  "num_heads",
  "expansion",
  "H_layers",
  "L_layers",
  "H_cycles",
  "L_cycles",
  "halt_max_steps",
  "batch_size",
];

/** The fields in which the official TRM recipe (config/arch/trm.yaml) differs from HRM's. Its `H_layers` has no effect. */
const trmRecipe = ({ L_cycles, H_layers, mlp_t, puzzle_emb_ndim }: HrmConfig): Partial<RecipeFields> => ({
  ...{ H_cycles: 3, L_cycles: 6, L_layers: 2, H_layers, halt_only: true, bp_steps: L_cycles + 1 },
  ...{ mlp_t, pos_encodings: mlp_t ? "none" : "rope", puzzle_emb_len: puzzle_emb_ndim > 0 ? 16 : 0 },
  ...{ ema_decay: 0.999, ema_warmup: false },
});

/** Fields that a model without recursion does not read. */
const unread = ({ H_cycles, L_cycles, bp_steps, H_layers }: HrmConfig): Partial<RecipeFields> => ({
  ...{ H_cycles, L_cycles, bp_steps, H_layers },
});

/** Fields that have their own sentence below. */
const WORDED: readonly (keyof RecipeFields)[] = [
  "halt_only",
  "halt_exploration_prob",
  "pos_encodings",
  "pos_init_scale",
  "rope_theta",
  "rope_frequency",
  "arch",
  "carry_latents",
  "bp_steps",
  "inference_segments",
  "keep_best_answer",
  "staggered_starts",
  "puzzle_emb_ndim",
  "puzzle_emb_lr",
  "puzzle_emb_weight_decay",
  "swiglu_multiple",
  "ema_decay",
  "lr",
  "lr_schedule",
  "lr_decay_start",
  "lr_min_ratio",
  "augment",
];

const number = (value: number): string => value.toLocaleString("en", { maximumSignificantDigits: 6 });
const percent = (fraction: number): string => `${number(100 * fraction)}%`;
/** A rate in the notation of papers: 4e-3. */
const rate = (value: number): string =>
  value === 0 || value >= 0.1 ? number(value) : Number(value.toPrecision(6)).toExponential();

/** The course of the learning rate after the warm-up, in words. */
function learningRate({ lr, lr_schedule, lr_decay_start, lr_min_ratio }: TrainConfig): string {
  if (lr_min_ratio === 1) return `${rate(lr)}, constant`;
  const end = `to ${percent(lr_min_ratio)} of the peak`;
  return lr_schedule === "linear"
    ? `${rate(lr)}, constant to ${percent(lr_decay_start)} of the steps, then linear ${end}`
    : `${rate(lr)}, by a cosine ${end}`;
}

/** The positions, as the beginning of a phrase that names what they replace. */
function positions({ pos_encodings: kind, rope_frequency, rope_theta }: HrmConfig): string {
  if (kind === "rope2d")
    return `rotary positions by row and column (first frequency ${number(rope_frequency)}, theta ${number(rope_theta)})`;
  if (kind === "rope2d_boxes")
    return "rotary positions by row, column and box, which tell the model the houses of a Sudoku,";
  return `${kind === "none" ? "no" : kind} positions`;
}

/** What a network is that is neither HRM's nor TRM's. */
const ARCHS: Readonly<Record<HrmConfig["arch"], string>> = {
  hrm: "arch hrm: two networks, one for each level",
  trm: "arch trm: one network for both levels",
  trm_singlez: "arch trm_singlez: one network and one latent",
  l_only: "arch l_only: one level alone, whose every update adds the input",
  transformer: "arch transformer: no recursion, each layer of the network runs once",
};

/**
 * The differences between a configuration and the official recipe, one phrase each. `recipe` holds the fields in which the
 * official recipe for these puzzles differs from the official defaults.
 */
export function departures({ model, train }: Configured, recipe: Partial<RecipeFields> = {}): string[] {
  const own: RecipeFields = { ...model, ...train };
  const isTrm = model.arch === "trm" || model.arch === "trm_singlez";
  const official: RecipeFields = {
    ...defaultConfig,
    ...defaultTrainConfig,
    // The official configuration gives the puzzle embedding the width of the model.
    puzzle_emb_ndim: model.hidden_size,
    // TRM is measured by its own official recipe.
    ...(isTrm && { ...trmRecipe(model), arch: model.arch }),
    // Nothing reads these without recursion.
    ...(model.arch === "transformer" && unread(model)),
    ...recipe,
  };
  const differ = (field: keyof RecipeFields): boolean => own[field] !== official[field];
  const plain = (field: keyof RecipeFields): string =>
    `${field} ${String(own[field])} (official ${String(official[field])})`;
  const found: string[] = [];

  if (differ("arch")) found.push(ARCHS[own.arch]);
  if (differ("carry_latents"))
    found.push("every segment starts from H_init and L_init: no latents are carried");
  if (differ("halt_only") && !own.halt_only) found.push(plain("halt_only"));
  else if (differ("halt_only"))
    found.push("halt-only ACT: rows halt on q_halt > 0, no q_continue is learned, no second forward runs");
  if (differ("halt_exploration_prob"))
    found.push(
      `exploration probability ${number(own.halt_exploration_prob)} (official ${number(official.halt_exploration_prob)})`,
    );
  if (differ("bp_steps"))
    found.push(
      `the gradient runs through the last ${own.bp_steps} updates of a segment (official ${official.bp_steps}): their activations are all kept, so that memory no longer stays the same with more cycles`,
    );
  if (differ("pos_encodings")) {
    const scale =
      own.pos_encodings === "learned" && differ("pos_init_scale")
        ? `, at first ${number(own.pos_init_scale)} times as large as official ones`
        : "";
    found.push(
      `${positions(own)} instead of ${official.pos_encodings === "none" ? "no" : "rotary"} ones${scale}`,
    );
  } else
    for (const field of ["rope_theta", "rope_frequency"] as const)
      if (differ(field)) found.push(plain(field));
  if (own.puzzle_emb_ndim === 0) found.push("no puzzle embedding");
  else {
    if (differ("puzzle_emb_ndim")) found.push(plain("puzzle_emb_ndim"));
    for (const field of ["puzzle_emb_lr", "puzzle_emb_weight_decay"] as const)
      if (differ(field)) found.push(plain(field));
  }
  if (official.ema_decay > 0 && differ("ema_decay")) found.push(plain("ema_decay"));
  else if (differ("ema_decay"))
    found.push(`evaluates and solves with a moving average (EMA) of the weights, decay ${own.ema_decay}`);
  if (differ("swiglu_multiple"))
    found.push(
      `SwiGLU inner size rounded up to a multiple of ${own.swiglu_multiple} (official ${official.swiglu_multiple})`,
    );
  if (differ("inference_segments"))
    found.push(
      `evaluates and solves with ${own.inference_segments} segments, after training with at most ${own.halt_max_steps}`,
    );
  if (differ("keep_best_answer"))
    found.push("answers with the segment of the highest q_halt instead of the last one");
  if (differ("staggered_starts"))
    found.push("the rows of the first batch begin at different segments, so that batches mix all depths");
  if (learningRate(own) !== learningRate(official))
    found.push(`learning rate ${learningRate(own)} (official: ${learningRate(official)})`);
  for (const field of Object.keys(own) as (keyof RecipeFields)[])
    if (![...NOT_COMPARED, ...SIZES, ...WORDED].includes(field) && differ(field)) found.push(plain(field));
  if (own.augment) found.push("random images are drawn for every batch instead of beforehand");
  const sizes = SIZES.filter(differ);
  if (sizes.length > 0) found.push(`sizes: ${sizes.map(plain).join(", ")}`);
  return found;
}

/** The differences between a run and its preset, one phrase each. Sizes that follow from the puzzles are left out. */
export function changes(run: Configured, preset: Configured): string[] {
  const own: RecipeFields = { ...run.model, ...run.train };
  const usual: RecipeFields = { ...preset.model, ...preset.train };
  return (Object.keys(own) as (keyof RecipeFields)[])
    .filter((field) => own[field] !== usual[field])
    .filter((field) => ![...TASK_FIELDS, "num_puzzle_identifiers"].includes(field))
    .map((field) => `${field} ${String(own[field])} instead of ${String(usual[field])}`);
}
