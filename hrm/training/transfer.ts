/** Weights of one model as the start of another: which of them fit, which are made to fit, and which start anew. */
import { hostTensor, type HostTensor } from "../../engine/index.js";
import { derive, isInGrid, type HrmConfig } from "../model/config.js";
import {
  initialState,
  parameterSpecs,
  POSITION_EMBEDDING,
  PUZZLE_EMBEDDING,
  StateError,
  TOKEN_EMBEDDING,
  type StateDict,
} from "../model/parameters.js";

/** Weights to start from. */
export interface TransferSource {
  /** The configuration of the weights. */
  readonly config: HrmConfig;
  /** The weights, by official name. */
  readonly state: StateDict;
}

/** The state that a run starts from, and where it comes from. */
export interface Transfer {
  /** Every parameter of the new model, f32, by official name. */
  readonly state: StateDict;
  /** Parameters that were taken as they are. */
  readonly taken: readonly string[];
  /** Parameters that were taken in part, that start anew, or that the new model lacks, with the reason. */
  readonly notes: readonly { readonly name: string; readonly what: string }[];
}

/** Tables with a row for each token. */
const OF_TOKENS: readonly string[] = [TOKEN_EMBEDDING, "inner.lm_head.weight"];

/**
 * The start of a run of `config` from other weights. Networks, levels and heads must have the same shapes. Tables of tokens
 * start anew if the vocabulary has another size. Learned positions are taken cell by cell. Puzzle embeddings start at the mean
 * of the given ones if their number differs, as in the official code. What starts anew is initialised from `seed`.
 * @throws StateError naming a parameter that does not fit
 */
export function transferWeights(
  { config: from, state }: TransferSource,
  config: HrmConfig,
  seed: number,
): Transfer {
  const fresh = initialState(config, seed);
  const result = new Map<string, HostTensor>();
  const taken: string[] = [];
  const notes: { name: string; what: string }[] = [];
  for (const { name, shape } of parameterSpecs(config)) {
    const [given, own] = [state.get(name), fresh.get(name)!];
    const note = (what: string): void => void notes.push({ name, what });
    if (
      given &&
      given.shape.join() === shape.join() &&
      !(name === POSITION_EMBEDDING && movesCells(from, config))
    ) {
      result.set(name, given);
      taken.push(name);
    } else if (given && OF_TOKENS.includes(name) && given.shape[1] === shape[1]) {
      result.set(name, own);
      note(`starts anew: the weights have ${given.shape[0]} tokens, the task has ${shape[0]}`);
    } else if (name === POSITION_EMBEDDING && (!given || given.shape[1] === shape[1])) {
      const { value, rows } = given
        ? positionsFrom(given, own, { from, to: config })
        : { value: own, rows: 0 };
      result.set(name, value);
      note(
        given
          ? `taken for ${rows} of ${shape[0]} positions; the others start anew`
          : "starts anew: the weights have no learned positions",
      );
    } else if (name === PUZZLE_EMBEDDING && (!given || given.shape[1] === shape[1])) {
      result.set(name, given ? meanRow(given, own) : own);
      note(
        given
          ? `every row starts at the mean of the ${given.shape[0]} rows of the weights, as there are ${shape[0]} identifiers`
          : "starts anew: the weights have no puzzle embedding",
      );
    } else
      throw new StateError(
        name,
        given ? `shape [${given.shape.join(", ")}]` : "nothing",
        `shape [${shape.join(", ")}]; only tables of tokens, positions and puzzles may differ from the new model's`,
      );
  }
  for (const name of state.keys())
    if (!result.has(name)) {
      if (![POSITION_EMBEDDING, PUZZLE_EMBEDDING].includes(name))
        throw new StateError(
          name,
          "weights",
          "none, as the new model has no such part; give it the same levels and layers",
        );
      notes.push({ name, what: "not taken: the new model has none" });
    }
  return { state: result, taken, notes };
}

/** True if cells of the same number lie at different places of their grids. */
const movesCells = (from: HrmConfig, to: HrmConfig): boolean =>
  from.grid_columns > 0 && to.grid_columns > 0 && from.grid_columns !== to.grid_columns;

/** Positions of the new model: those of cells that both grids have come from the weights. Without grids, cells count in order. */
function positionsFrom(
  given: HostTensor,
  own: HostTensor,
  { from, to }: { readonly from: HrmConfig; readonly to: HrmConfig },
): { value: HostTensor; rows: number } {
  const width = own.shape[1]!;
  const data = Float32Array.from(own.data);
  const [before, after] = [derive(from).puzzleLength, derive(to).puzzleLength];
  const inGrids = from.grid_columns > 0 && to.grid_columns > 0;
  const oldCell = (cell: number): number => {
    if (!inGrids) return cell < from.seq_len ? cell : -1;
    const [row, column] = [Math.floor(cell / to.grid_columns), cell % to.grid_columns];
    return row < from.grid_rows && column < from.grid_columns ? row * from.grid_columns + column : -1;
  };
  let rows = 0;
  const copy = (source: number, target: number): void => {
    data.set((given.data as Float32Array).subarray(source * width, (source + 1) * width), target * width);
    rows++;
  };
  for (let i = 0; i < Math.min(before, after); i++) copy(i, i);
  for (let cell = 0; cell < to.seq_len; cell++) {
    const source = oldCell(cell);
    if (source >= 0) copy(before + source, after + cell);
  }
  return { value: hostTensor(data, own.shape), rows };
}

/** The mean of the rows of a table, in every row of another; sums are of doubles. */
function meanRow(given: HostTensor, own: HostTensor): HostTensor {
  const [rows, width] = given.shape as [number, number];
  const sums = new Float64Array(width);
  given.data.forEach((value, i) => (sums[i % width]! += value));
  const data = new Float32Array(own.data.length);
  for (let i = 0; i < data.length; i++) data[i] = sums[i % width]! / rows;
  return hostTensor(data, own.shape);
}

/** Fields of the new model that decide what the weights compute, but that no shape tells; a run may change them knowingly. */
export function changedMeaning(from: HrmConfig, to: HrmConfig): (keyof HrmConfig)[] {
  const fields: (keyof HrmConfig)[] = [
    "num_heads",
    "H_cycles",
    "L_cycles",
    "pos_encodings",
    "rope_theta",
    "rope_frequency",
  ];
  return [...fields, ...(["rms_norm_eps", "causal", "halt_only", "carry_latents"] as const)].filter(
    (field) => from[field] !== to[field],
  );
}

/** Fields that a run from weights takes from their configuration if nobody gives them: all but those that the puzzles decide. */
export function inheritedFields(from: HrmConfig, puzzles: Partial<HrmConfig>): Partial<HrmConfig> {
  const { batch_size: _batch, pos_init_scale: _scale, num_puzzle_identifiers: _rows, ...rest } = from;
  const {
    seq_len: _cells,
    vocab_size: _tokens,
    grid_rows: _r,
    grid_columns: _c,
    box_rows: _br,
    box_columns: _bc,
    ...model
  } = rest;
  // Positions in a grid or in boxes need a task that has them.
  const grid = puzzles.grid_rows !== 0;
  if (isInGrid(from) && !grid) return { ...model, pos_encodings: "rope" };
  if (from.pos_encodings === "rope2d_boxes" && puzzles.box_rows === 0)
    return { ...model, pos_encodings: "rope2d" };
  return model;
}
