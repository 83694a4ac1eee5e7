/** A model at work for `load` of solve.ts and solve_official.ts: answers puzzles segment by segment, without code for training. */
import { unlessAborted, type Abortable } from "../engine/abort.js";
import { compile } from "../engine/compiler/compile.js";
import type { Device } from "../engine/device.js";
import { UsageError } from "../engine/errors.js";
import { variable, type Variable } from "../engine/variable.js";
import { openForInference } from "../engine/open_for_inference.js";
import { takeRows } from "../engine/ops/lookup.js";
import { owning, Scope } from "../engine/ownership.js";
import type { Program } from "../engine/program.js";
import { createQueue } from "../engine/queue.js";
import { i32 } from "../engine/tensor.js";
import { assign } from "../engine/trace.js";
import type { Checkpoint } from "./files/checkpoints/checkpoint.js";
import { SourceError } from "./files/sources/source_error.js";
import { derive, hasOneLatent, inferenceSegments, type HrmConfig } from "./model/config.js";
import { embed, segment, startingLatents, modelOf } from "./model/model.js";
import { createWeights, PUZZLE_EMBEDDING, type Weights } from "./model/parameters.js";

/** How a model is loaded. */
export interface LoadOptions extends Abortable {
  /** The device to run on, which stays the caller's; default: one of its own, from `openDevice()`. */
  readonly device?: Device;
  /** Which weights to take: the moving average (default; the raw ones if the file has no average), or the raw ones. */
  readonly weights?: "ema" | "raw";
  /** Puzzles that {@link PuzzleModel.solveAll} computes at once; default 16. */
  readonly batch?: number;
}

/** How puzzles are solved. */
export interface SolveOptions extends Abortable {
  /** Segments at most; default those of the run, else `halt_max_steps`. */
  readonly segments?: number;
  /** A puzzle is done with the first segment whose `qHalt` is above this number; default: never early. */
  readonly haltAbove?: number;
  /** The puzzle's identifier, whose embedding the model reads; default 0. */
  readonly identifier?: number;
  /** Hears of the answer after each segment, counted from 0, of each puzzle, counted from 0 in the order given. */
  readonly onSegment?: (answer: Answer, segment: number, puzzle: number) => void;
}

/** What the model answers after a segment. */
export interface Answer {
  /** The likeliest token of each cell, [S]; of equal ones the first. */
  readonly cells: Int32Array;
  /** The cells as characters, if the model's symbols are known; else null. */
  readonly text: string | null;
  /** Above 0 the model believes that the answer is right. */
  readonly qHalt: number;
  /** Segments so far. */
  readonly segments: number;
}

/** A puzzle: a token for each of the S cells, or a character for each (Sudoku: `.`, `0` or `_` for an empty cell). */
export type Grid = string | ArrayLike<number>;

/** A loaded model. */
export interface PuzzleModel {
  /** The device on which it runs. */
  readonly device: Device;
  /** The model's configuration. */
  readonly config: HrmConfig;
  /** What it solves, as presets name tasks: `sudoku9`, `maze-10x10`. */
  readonly task: string;
  /** The answer after the last segment. Calls that overlap are answered one after the other, in their order. */
  solve(grid: Grid, options?: SolveOptions): Promise<Answer>;
  /** The answers to many puzzles, `batch` of them at a time, each as `solve` would give it. */
  solveAll(grids: readonly Grid[], options?: SolveOptions): Promise<Answer[]>;
  /** Frees the weights, and the device if it is the model's own. */
  destroy(): void;
}

/** A source of bytes: an address, a `File` or other blob, or the bytes themselves. */
export type Source = string | URL | Blob | Uint8Array | ArrayBuffer;

/** Loads a model from a source, whose bytes `read` makes a checkpoint of. */
export async function loadModel(
  source: Source,
  options: LoadOptions,
  read: (bytes: Uint8Array) => Checkpoint,
): Promise<PuzzleModel> {
  const { signal, batch = 16 } = options;
  if (!Number.isInteger(batch) || batch < 1)
    throw new UsageError(`load: got batch = ${batch}; expected a positive integer.`);
  const checkpoint = read(await bytesOf(source, signal));
  signal?.throwIfAborted();
  return owning(async (scope) => {
    const device = options.device ?? scope.own(await openForInference());
    signal?.throwIfAborted();
    const { raw, ema } = checkpoint;
    const state = options.weights === "raw" ? raw : (ema ?? raw);
    const own = scope.own(new Scope());
    if (!options.device) own.own(device);
    const weights = createWeights(device, checkpoint.config, state);
    for (const v of weights.values()) own.own(v);
    return modelOn(device, checkpoint, weights, batch, own);
  });
}

async function bytesOf(source: Source, signal?: AbortSignal): Promise<Uint8Array> {
  signal?.throwIfAborted();
  if (source instanceof Uint8Array) return source;
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (typeof source === "string" || source instanceof URL) {
    const response = await fetch(source, signal ? { signal } : {}).catch((cause: unknown) => {
      signal?.throwIfAborted();
      throw new SourceError(`load: ${String(source)} cannot be reached: ${String(cause)}`, { cause });
    });
    if (!response.ok)
      throw new SourceError(`load: ${String(source)} answered ${response.status} ${response.statusText}.`);
    return new Uint8Array(await unlessAborted(response.arrayBuffer(), signal));
  }
  return new Uint8Array(await unlessAborted(source.arrayBuffer(), signal));
}

/** One batch's state on the GPU, and the program that carries it on by a segment. */
interface Batch {
  readonly program: Program;
  destroy(): void;
}

function modelOn(
  device: Device,
  { config, task, vocabulary }: Checkpoint,
  weights: Weights,
  most: number,
  owned: Scope,
): PuzzleModel {
  const symbols = symbolsOf(task, vocabulary, config.vocab_size);
  const inTurn = createQueue();
  const batches = new Map<number, Batch>();
  const batchOf = async (rows: number, signal?: AbortSignal): Promise<Batch> => {
    const known = batches.get(rows);
    if (known) return known;
    const made = await owning(() => compileBatch(device, config, weights, rows, signal));
    batches.set(rows, owned.own(made));
    return made;
  };

  /** Answers to at most `most` puzzles, the first being number `first`. */
  const answer = async (puzzles: readonly Int32Array[], first: number, options: SolveOptions) => {
    const { segments = inferenceSegments(config), haltAbove = Infinity, identifier = 0 } = options;
    const { onSegment, signal } = options;
    signal?.throwIfAborted();
    const { program } = await batchOf(puzzles.length, signal);
    const { seq_len: S, vocab_size: V } = config;
    const inputs = new Int32Array(puzzles.length * S);
    puzzles.forEach((cells, row) => inputs.set(cells, row * S));
    const identifiers = new Int32Array(puzzles.length).fill(identifier);
    const answers: Answer[] = [];
    const done = puzzles.map(() => false);
    for (let i = 0; i < segments && done.includes(false); i++) {
      const fresh = Int32Array.of(i === 0 ? 1 : 0);
      const outputs = await program.call({ inputs, identifiers, fresh }, { signal });
      const { logits, qHalt } = outputs as Record<"logits" | "qHalt", Float32Array>;
      puzzles.forEach((_, row) => {
        if (done[row]) return;
        const cells = likeliest(logits.subarray(row * S * V, (row + 1) * S * V), V);
        const q = qHalt[row]!;
        const before = answers[row];
        answers[row] =
          before && config.keep_best_answer && q <= before.qHalt
            ? { ...before, segments: i + 1 }
            : { cells, text: symbols && format(cells, symbols), qHalt: q, segments: i + 1 };
        done[row] = q > haltAbove;
        onSegment?.(answers[row], i, first + row);
      });
    }
    return answers;
  };

  const solveAll = (grids: readonly Grid[], options: SolveOptions = {}): Promise<Answer[]> => {
    requireOptions(options, config);
    const puzzles = grids.map((grid) => cellsOf(grid, config, symbols));
    const all = async (): Promise<Answer[]> => {
      const answers: Answer[] = [];
      for (let first = 0; first < puzzles.length; first += most)
        answers.push(...(await answer(puzzles.slice(first, first + most), first, options)));
      return answers;
    };
    return unlessAborted(inTurn(all), options.signal);
  };
  return {
    device,
    config,
    task,
    async solve(grid, options = {}) {
      return (await solveAll([grid], options))[0]!;
    },
    // Bad grids and options reject, as everything else does.
    solveAll: async (grids, options) => solveAll(grids, options),
    destroy: () => owned.destroy(),
  };
}

async function compileBatch(
  device: Device,
  given: HrmConfig,
  weights: Weights,
  rows: number,
  signal?: AbortSignal,
): Promise<Batch> {
  const config = { ...given, batch_size: rows };
  const { totalLength } = derive(config);
  const latent = (name: string): Variable =>
    variable(device, { shape: [rows, totalLength, config.hidden_size], dtype: "f32" }, `solve.${name}`);
  const zL = latent("z_L");
  const zH = hasOneLatent(config) ? null : latent("z_H");
  const model = modelOf(config, weights);
  const table = weights.get(PUZZLE_EMBEDDING);
  const program = await compile(
    device,
    { inputs: i32(rows, config.seq_len), identifiers: i32(rows), fresh: i32(1, 1, 1) },
    ({ inputs, identifiers, fresh }) => {
      const x = embed(model, inputs, table ? takeRows(table, identifiers) : null);
      const result = segment(model, startingLatents(model, fresh, { zH, zL }), x);
      assign(zL, result.zL);
      if (zH) assign(zH, result.zH);
      return { logits: result.logits, qHalt: result.qHalt };
    },
    { name: `solve ${rows}`, signal },
  );
  return {
    program: program as unknown as Program,
    destroy() {
      program.destroy();
      zL.destroy();
      zH?.destroy();
    },
  };
}

function requireOptions(
  { segments = 1, identifier = 0, haltAbove = 0 }: SolveOptions,
  config: HrmConfig,
): void {
  if (!Number.isInteger(segments) || segments < 1)
    throw new UsageError(`solve: got segments = ${segments}; expected a positive integer.`);
  if (Number.isNaN(haltAbove)) throw new UsageError("solve: got haltAbove = NaN; expected a number.");
  const most = config.num_puzzle_identifiers;
  if (!Number.isInteger(identifier) || identifier < 0 || identifier >= most)
    throw new UsageError(`solve: got identifier ${identifier}; expected an integer from 0 to ${most - 1}.`);
}

/** The first of the largest of V logits, for each cell. */
function likeliest(logits: Float32Array, V: number): Int32Array {
  return Int32Array.from({ length: logits.length / V }, (_, cell) => {
    let best = 0;
    for (let v = 1; v < V; v++) if (logits[cell * V + v]! > logits[cell * V + best]!) best = v;
    return best;
  });
}

/** What tokens stand for, in the order of their numbers: what the file says, else what is known of the task. */
function symbolsOf(
  task: string,
  vocabulary: readonly string[] | undefined,
  size: number,
): readonly string[] | null {
  if (vocabulary) return vocabulary;
  // Token 0 is padding (docs/data.md).
  if (/^sudoku/.test(task)) return ["", ".", ..."123456789ABCDEFG"].slice(0, size);
  return /^maze/.test(task) ? ["", ..."# SGo"].slice(0, size) : null;
}

function format(cells: Int32Array, symbols: readonly string[]): string {
  return Array.from(cells, (token) => symbols[token] || "?").join("");
}

/** The tokens of a puzzle. @throws UsageError for another number of cells, and for tokens or characters unknown */
function cellsOf(
  grid: Grid,
  { seq_len, vocab_size }: HrmConfig,
  symbols: readonly string[] | null,
): Int32Array {
  const refuse = (got: string, expected: string): never => {
    throw new UsageError(`solve: got ${got}; expected ${expected}.`);
  };
  // Line ends and such tell rows apart for people; a blank is a cell of a maze.
  const given: readonly (string | number)[] =
    typeof grid === "string" ? [...grid.replace(/[\r\n\t]/g, "")] : Array.from(grid);
  if (given.length !== seq_len) refuse(`a grid of ${given.length} cells`, `${seq_len}, row by row`);
  const tokens = given.map((cell, i) => {
    if (typeof cell === "number")
      return Number.isInteger(cell) && cell >= 0 && cell < vocab_size
        ? cell
        : refuse(`token ${cell} in cell ${i}`, `an integer from 0 to ${vocab_size - 1}`);
    if (!symbols) return refuse("text", `a list of tokens, as this model's symbols are unknown`);
    const empty = symbols.indexOf(".");
    const token = empty >= 0 && /[0_]/.test(cell) && !symbols.includes(cell) ? empty : symbols.indexOf(cell);
    return token >= 0
      ? token
      : refuse(
          `${JSON.stringify(cell)} in cell ${i}`,
          `one of ${symbols.filter((symbol) => symbol.length === 1).join(" ")}`,
        );
  });
  return Int32Array.from(tokens);
}
