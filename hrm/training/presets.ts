/**
 * Named runs: a task with a configuration, and whether it is known to learn. The file is one table, and its length is that
 * of the table.
 */
import { UsageError } from "../../engine/errors.js";
import { modelConfig, trainConfig, type HrmConfig, type TrainConfig } from "../model/config.js";
import type { RecipeFields } from "./departures.js";
import { puzzleSet, type PuzzleSplits } from "../puzzles/puzzle_set.js";
import { sizesOf } from "../model/task_fields.js";
import { gridTask } from "../puzzles/tasks/grid.js";
import { generateMazes } from "../puzzles/tasks/maze_generator.js";
import { mazeTask } from "../puzzles/tasks/maze.js";
import { splitPuzzles, type SplitBy } from "../puzzles/splits.js";
import { sudoku4Splits } from "../puzzles/tasks/sudoku4.js";
import { generateSudoku, type SudokuGeneratorOptions } from "../puzzles/tasks/sudoku_generator.js";
import { sudokuTask } from "../puzzles/tasks/sudoku.js";
import type { Task } from "../puzzles/tasks/task.js";

/** Whether a preset is known to learn: `learning` if a recorded curve reached 50% exact on held-out puzzles. */
export type PresetStatus =
  | {
      readonly kind: "learning";
      /** File in the repository with the curve. */
      readonly curve: string;
    }
  | {
      readonly kind: "unproven";
      /** What was tried, in a sentence. */
      readonly tried: string;
    };

/** Everything that a run needs. */
export interface Preset {
  /** Its name, as `findPreset` and `hrm train --preset` take it. */
  readonly name: string;
  /** One line on what it trains. */
  readonly summary: string;
  /** Whether it is known to learn, and its recorded curve. */
  readonly status: PresetStatus;
  /** Fields in which the official recipe for these puzzles differs from the official defaults; `departures` compares with both. */
  readonly recipe?: Partial<RecipeFields>;
  /** The puzzles' task. */
  readonly task: Task;
  /** The model's configuration. */
  readonly model: HrmConfig;
  /** The configuration of training. */
  readonly train: TrainConfig;
  /** Validation exact accuracy that ends training. */
  readonly stopAt: number;
  /** Steps between two looks at the validation set. */
  readonly evalEvery: number;
  /** Validation puzzles per look; a look that reaches the target is repeated on all of them. */
  readonly evalLimit: number;
  /** What two splits never share. Training augments only if the splits are by class. */
  readonly splitBy: SplitBy;
  /** Makes the three sets. @throws UsageError if the preset has no puzzles of its own */
  splits(seed: number): PuzzleSplits;
}

/** What the 4x4 test measures. Printed beside every result. */
export const SUDOKU4_NOTE =
  "4x4 Sudoku has only 288 solution grids, in two symmetry classes: the test holds unseen puzzles of unseen grids, not unseen structure.";

/**
 * The preset on other puzzles. Sizes and grid of the model follow the task. Positions by box become positions by row and
 * column if the task has no boxes. Images are drawn only if the task has symmetries and the splits are by class.
 */
export function withPuzzles(
  preset: Preset,
  { task, splitBy, splits }: Pick<Preset, "task" | "splitBy" | "splits">,
): Preset {
  const sizes = sizesOf(task);
  const { pos_encodings } = preset.model;
  const hasNoBoxes = pos_encodings === "rope2d_boxes" && sizes.box_rows === 0;
  return {
    ...preset,
    task,
    splitBy,
    splits,
    model: modelConfig({ ...preset.model, ...sizes, ...(hasNoBoxes && { pos_encodings: "rope2d" }) }),
    train: {
      ...preset.train,
      augment: preset.train.augment && task.symmetry !== null && splitBy === "class",
    },
  };
}

/** Splits of generated Sudoku, by symmetry class. */
function sudokuPuzzles(options: Omit<SudokuGeneratorOptions, "count" | "seed">, train: number) {
  const task = sudokuTask(options.size);
  const [validation, test] = [512, 512];
  return {
    task,
    splitBy: "class",
    splits(seed: number): PuzzleSplits {
      const records = generateSudoku({ ...options, count: train + validation + test, seed });
      return splitPuzzles(puzzleSet(records, task.length), task, { by: "class", validation, test, seed });
    },
  } as const;
}

/** A task whose puzzles come from a file. */
function puzzlesFromFile(name: string, task: Task) {
  return {
    task,
    splitBy: "class",
    splits(): PuzzleSplits {
      throw new UsageError(
        `preset ${name}: has no puzzles of its own; pass a CSV file or a data set folder with --data, or make one with hrm generate.`,
      );
    },
  } as const;
}

const task = sudokuTask(4);
const sudoku4 = {
  task,
  splitBy: "solution",
  splits: (seed: number) => sudoku4Splits({ seed }),
} as const;
const tiny = {
  batch_size: 16,
  H_cycles: 1,
  L_cycles: 2,
  H_layers: 1,
  L_layers: 1,
  num_heads: 4,
  pos_encodings: "learned",
  halt_max_steps: 4,
} as const;

const sudoku6 = sudokuPuzzles({ size: 6, difficulty: "any", givens: [18, 24] }, 4096);
const sudoku9Easy = sudokuPuzzles({ size: 9, difficulty: "easy", givens: [30, 37] }, 2048);
const sudoku9 = sudokuPuzzles({ size: 9, difficulty: "medium", givens: [24, 29] }, 4096);
/**
 * Splits of generated mazes. Mazes of validation and test have shortest paths of at least `minLength` moves. The minimum
 * length of each training maze is drawn from `minLengths`, so that short paths teach what long paths need.
 */
function mazePuzzles(
  side: number,
  {
    minLength,
    minLengths,
    train,
  }: { minLength: number; minLengths: readonly [from: number, to: number]; train: number },
) {
  const task = mazeTask(side);
  return {
    task,
    splitBy: "class",
    splits(seed: number): PuzzleSplits {
      const held = generateMazes({ side, count: 1024, seed, minLength });
      const records = generateMazes({ side, count: train, seed, minLength: minLengths, without: held });
      const set = (part: typeof held) => puzzleSet(part, task.length);
      return { train: set(records), validation: set(held.slice(0, 512)), test: set(held.slice(512)) };
    },
  } as const;
}

/** The canvas of small ARC tasks, with PAD as ".", EOS as "|" and the colours as digits. */
const arcToyTask = gridTask({ rows: 10, columns: 10, vocabSize: 12, symbols: ".|0123456789" });
const maze7 = mazePuzzles(7, { minLength: 9, minLengths: [7, 14], train: 12288 });
const maze10 = mazePuzzles(10, { minLength: 21, minLengths: [2, 26], train: 12288 });

/** Fields that the small presets after sudoku4 share. */
const small = {
  ...tiny,
  swiglu_multiple: 32,
  pos_init_scale: 3,
  halt_exploration_prob: 1,
  halt_only: true,
} as const;
const smallTraining = {
  lr_warmup_steps: 50,
  lr_schedule: "linear",
  lr_min_ratio: 0.2,
  weight_decay: 0.3,
  ema_decay: 0.998,
  augment: true,
} as const;

/** Fields that the presets on whole grids share: positions in the grid, and a longer gradient than the official one. */
const gridModel: Partial<HrmConfig> = {
  ...{ hidden_size: 64, num_heads: 4, H_layers: 1, L_layers: 1, swiglu_multiple: 32 },
  ...{ H_cycles: 2, L_cycles: 2, halt_max_steps: 8, halt_exploration_prob: 1, halt_only: true },
};
const gridTraining: Partial<TrainConfig> = {
  ...{ lr: 2e-3, lr_warmup_steps: 50, lr_schedule: "linear" },
  ...{ weight_decay: 0.5, beta1: 0.6, beta2: 0.99, staggered_starts: true, augment: true },
};
/** Mazes: the gradient runs through the whole last H cycle. */
const mazeModel: Partial<HrmConfig> = {
  ...gridModel,
  batch_size: 32,
  bp_steps: 3,
  pos_encodings: "rope2d",
  rope_theta: 16,
};
const mazeTraining: Partial<TrainConfig> = {
  ...gridTraining,
  lr_decay_start: 0.5,
  lr_min_ratio: 0.1,
  ema_decay: 0.995,
};
/** 7x7 mazes: a higher rate that falls almost from the start, and twice as many segments at inference as in training. */
const maze7Model: Partial<HrmConfig> = { ...mazeModel, rope_frequency: 3, inference_segments: 16 };
const maze7Training: Partial<TrainConfig> = {
  ...mazeTraining,
  ...{ lr: 3e-3, lr_decay_start: 0.1, lr_min_ratio: 0.02, ema_decay: 0.998 },
};
/** 9x9 Sudoku: the gradient runs through the whole segment, and inference has twice as many segments as training, of which the most confident answers. */
const sudokuModel: Partial<HrmConfig> = {
  ...{ ...gridModel, batch_size: 16, bp_steps: 6, pos_encodings: "rope2d_boxes" },
  ...{ loss_type: "softmax_cross_entropy", inference_segments: 16, keep_best_answer: true },
};
const sudokuTraining: Partial<TrainConfig> = {
  ...gridTraining,
  lr_decay_start: 0.2,
  lr_min_ratio: 0.03,
  ema_decay: 0.998,
};

/** The official halting: Q-learning with the second forward, and the official exploration. */
const fullAct = { halt_only: false, halt_exploration_prob: 0.1 } as const;

/**
 * TRM at the cost of the HRM presets. One network of two layers has as many parameters as two networks of one layer, and
 * twice the work in each update, so that half the batch costs the same.
 */
const trm: Partial<HrmConfig> = { arch: "trm", L_layers: 2, batch_size: 16, bp_steps: 3 };

/** The 27 million parameter model (config/arch/hrm_v1.yaml) and its small-data training. */
const official = { puzzle_emb_ndim: 512 } as const;
const officialTraining = { weight_decay: 1, puzzle_emb_weight_decay: 1, lr_min_ratio: 1 } as const;

const PRESETS: readonly Preset[] = [
  {
    ...sudoku4,
    name: "sudoku4",
    summary: "4x4 Sudoku, the cheapest configuration known to learn it",
    status: { kind: "learning", curve: "docs/curves/sudoku4.json" },
    model: modelConfig({
      ...tiny,
      ...sizesOf(task),
      H_cycles: 2,
      hidden_size: 32,
      swiglu_multiple: 32,
      pos_init_scale: 3,
      halt_exploration_prob: 1,
      halt_only: true,
    }),
    train: trainConfig({
      lr: 4e-3,
      lr_warmup_steps: 50,
      total_steps: 2000,
      lr_schedule: "linear",
      lr_decay_start: 0.3,
      lr_min_ratio: 0.1,
      weight_decay: 0.5,
      beta1: 0.6,
      beta2: 0.99,
      ema_decay: 0.995,
    }),
    stopAt: 0.97,
    evalEvery: 125,
    evalLimit: 128,
  },
  {
    ...sudoku4,
    name: "sudoku4-official",
    summary: "4x4 Sudoku by the official recipe: full ACT with the second forward, SwiGLU inner 256",
    status: { kind: "learning", curve: "docs/curves/sudoku4-official.json" },
    model: modelConfig({ ...tiny, ...sizesOf(task), hidden_size: 64 }),
    train: trainConfig({
      lr: 2e-3,
      lr_warmup_steps: 50,
      total_steps: 2000,
      lr_schedule: "linear",
      lr_decay_start: 0.8,
      lr_min_ratio: 0.2,
      weight_decay: 0.1,
      ema_decay: 0.995,
    }),
    stopAt: 0.97,
    evalEvery: 125,
    evalLimit: 128,
  },
  {
    ...sudoku6,
    name: "sudoku6",
    summary: "6x6 Sudoku with 18 to 24 givens",
    status: { kind: "learning", curve: "docs/curves/sudoku6.json" },
    model: modelConfig({ ...small, ...sizesOf(sudoku6.task), hidden_size: 32 }),
    train: trainConfig({ ...smallTraining, lr: 3e-3, total_steps: 20000, lr_decay_start: 0.9 }),
    stopAt: 0.9,
    evalEvery: 500,
    evalLimit: 256,
  },
  {
    ...sudoku9Easy,
    name: "sudoku9-easy",
    summary: "9x9 Sudoku with 30 to 37 givens that naked singles solve",
    status: { kind: "learning", curve: "docs/curves/sudoku9-easy.json" },
    model: modelConfig({ ...sudokuModel, ...sizesOf(sudoku9Easy.task) }),
    train: trainConfig({ ...sudokuTraining, total_steps: 4000 }),
    stopAt: 0.93,
    evalEvery: 500,
    evalLimit: 128,
  },
  {
    ...sudoku9,
    name: "sudoku9",
    summary: "9x9 Sudoku with 24 to 29 givens that needs hidden singles",
    status: { kind: "learning", curve: "docs/curves/sudoku9.json" },
    model: modelConfig({ ...sudokuModel, ...sizesOf(sudoku9.task) }),
    train: trainConfig({ ...sudokuTraining, total_steps: 8000 }),
    stopAt: 0.9,
    evalEvery: 1000,
    evalLimit: 128,
  },
  {
    ...maze7,
    name: "maze7",
    summary: "7x7 mazes with a shortest path of at least 9 moves",
    status: { kind: "learning", curve: "docs/curves/maze7.json" },
    model: modelConfig({ ...maze7Model, ...sizesOf(maze7.task) }),
    train: trainConfig({ ...maze7Training, total_steps: 3000 }),
    stopAt: 0.93,
    evalEvery: 500,
    evalLimit: 256,
  },
  {
    ...maze10,
    name: "maze10",
    summary: "10x10 mazes with a shortest path of at least 21 moves",
    status: { kind: "learning", curve: "docs/curves/maze10.json" },
    model: modelConfig({ ...maze7Model, ...sizesOf(maze10.task) }),
    train: trainConfig({ ...maze7Training, lr_decay_start: 0.4, lr_min_ratio: 0.03, total_steps: 4000 }),
    stopAt: 0.9,
    evalEvery: 500,
    evalLimit: 256,
  },
  {
    ...sudoku9Easy,
    name: "sudoku9-act",
    summary: "sudoku9-easy by full ACT: q_continue is learned from a second forward, exploration 0.1",
    status: { kind: "unproven", tried: "not yet run to its end" },
    model: modelConfig({ ...sudokuModel, ...fullAct, ...sizesOf(sudoku9Easy.task) }),
    train: trainConfig({ ...sudokuTraining, total_steps: 4000 }),
    stopAt: 0.93,
    evalEvery: 500,
    evalLimit: 128,
  },
  {
    ...maze7,
    name: "maze7-act",
    summary: "maze7 by full ACT: q_continue is learned from a second forward, exploration 0.1",
    status: { kind: "unproven", tried: "not yet run to its end" },
    model: modelConfig({ ...maze7Model, ...fullAct, ...sizesOf(maze7.task) }),
    train: trainConfig({ ...maze7Training, total_steps: 3000 }),
    stopAt: 0.93,
    evalEvery: 500,
    evalLimit: 256,
  },
  {
    ...maze7,
    name: "maze7-trm",
    summary: "maze7 by TRM: one network of two layers for both levels, half the batch",
    status: { kind: "unproven", tried: "not yet run to its end" },
    model: modelConfig({ ...maze7Model, ...trm, ...sizesOf(maze7.task) }),
    train: trainConfig({ ...maze7Training, total_steps: 3000 }),
    stopAt: 0.93,
    evalEvery: 500,
    evalLimit: 256,
  },
  {
    ...sudoku9,
    name: "sudoku9-trm",
    summary: "sudoku9 by TRM: one network of two layers for both levels, half the batch",
    status: { kind: "unproven", tried: "not yet run to its end" },
    model: modelConfig({ ...sudokuModel, ...trm, ...sizesOf(sudoku9.task), batch_size: 8 }),
    train: trainConfig({ ...sudokuTraining, total_steps: 8000 }),
    stopAt: 0.9,
    evalEvery: 500,
    evalLimit: 256,
  },
  {
    ...puzzlesFromFile("arc-toy", arcToyTask),
    name: "arc-toy",
    summary: "ARC tasks on a 10x10 canvas from a data set folder, such as hrm generate --task arc-toy writes",
    status: { kind: "unproven", tried: "single steps run; not yet run to its end" },
    model: modelConfig({
      ...{ ...mazeModel, ...sizesOf(arcToyTask) },
      ...{ puzzle_emb_ndim: 64, rope_frequency: 2 },
    }),
    train: trainConfig({
      ...{ ...mazeTraining, augment: false, total_steps: 8000 },
      ...{ puzzle_emb_lr: 1e-2, puzzle_emb_weight_decay: 0.1 },
    }),
    stopAt: 0.9,
    evalEvery: 500,
    evalLimit: 120,
  },
  {
    ...puzzlesFromFile("sudoku-extreme-1k", sudokuTask(9)),
    name: "sudoku-extreme-1k",
    summary: "the official Sudoku-Extreme recipe on 1,000 puzzles of a file, for a large GPU",
    status: { kind: "unproven", tried: "single steps run, not trained here; published 55% exact" },
    recipe: { ...officialTraining, lr: 7e-5, puzzle_emb_lr: 7e-5 },
    model: modelConfig({ ...official, ...sizesOf(sudokuTask(9)), batch_size: 384 }),
    train: trainConfig({
      ...officialTraining,
      lr: 7e-5,
      puzzle_emb_lr: 7e-5,
      total_steps: 52083,
      augment: true,
    }),
    stopAt: 1,
    evalEvery: 2000,
    evalLimit: 512,
  },
  {
    ...puzzlesFromFile("maze-30x30-hard-1k", mazeTask(30)),
    name: "maze-30x30-hard-1k",
    summary: "the official Maze-Hard recipe on 1,000 mazes of a file, for a large GPU",
    status: { kind: "unproven", tried: "not trained here; published 74.5% exact" },
    recipe: { ...officialTraining, lr: 1e-4, puzzle_emb_lr: 1e-4, batch_size: 768 },
    model: modelConfig({ ...official, ...sizesOf(mazeTask(30)), batch_size: 768 }),
    train: trainConfig({ ...officialTraining, lr: 1e-4, puzzle_emb_lr: 1e-4, total_steps: 26041 }),
    stopAt: 1,
    evalEvery: 2000,
    evalLimit: 512,
  },
];

/** All presets. */
export const presets: readonly Preset[] = PRESETS;

/** Names of the presets. */
export const presetNames: readonly string[] = PRESETS.map((p) => p.name);

/** A preset by name; undefined if no preset has that name. */
export const findPreset = (name: string): Preset | undefined => PRESETS.find((p) => p.name === name);
