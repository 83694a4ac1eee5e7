/** Named runs: a task with the configuration that is known to learn it. */
import { modelConfig, trainConfig, type HrmConfig, type TrainConfig } from "./config.js";
import type { PuzzleSplits } from "./puzzles.js";
import { sudoku4Splits } from "./tasks/sudoku4.js";
import { sudokuTask } from "./tasks/sudoku.js";
import type { Task } from "./tasks/task.js";

/** Everything that a run needs. */
export interface Preset {
  readonly name: string;
  readonly summary: string;
  /** Where it departs from the official recipe, one sentence each. */
  readonly departures: readonly string[];
  readonly task: Task;
  readonly model: HrmConfig;
  readonly train: TrainConfig;
  /** Validation exact accuracy that ends training. */
  readonly stopAt: number;
  readonly evalEvery: number;
  /** Validation puzzles per look; a look that reaches the target is repeated on all of them. */
  readonly evalLimit: number;
  /** The three sets, disjoint by solution grid. */
  splits(seed: number): PuzzleSplits;
}

/** What the 4x4 test measures, said wherever its result is. */
export const SUDOKU4_NOTE =
  "4x4 Sudoku has only 288 solution grids, in two symmetry classes: the test holds unseen puzzles of unseen grids, not unseen structure.";

const task = sudokuTask(4);
const sudoku4 = { task, splits: (seed: number) => sudoku4Splits({ seed }) };
const tiny = {
  batch_size: 16,
  seq_len: task.length,
  vocab_size: task.vocabSize,
  H_cycles: 1,
  L_cycles: 2,
  H_layers: 1,
  L_layers: 1,
  num_heads: 4,
  pos_encodings: "learned",
  halt_max_steps: 4,
} as const;

const PRESETS: readonly Preset[] = [
  {
    ...sudoku4,
    name: "sudoku4",
    summary: "4x4 Sudoku, 27,586 parameters, the cheapest configuration known to learn it",
    departures: [
      "halt-only ACT: rows halt on q_halt > 0, no q_continue is learned, no second forward runs",
      "exploration probability 1.0 (official 0.1)",
      "evaluates and solves with a moving average (EMA) of the weights",
      "SwiGLU inner size rounded to a multiple of 32 (official 256)",
      "learning rate 4e-3, constant to 80% of the plan, then linear to a fifth",
    ],
    model: modelConfig({
      ...tiny,
      hidden_size: 32,
      swiglu_multiple: 32,
      halt_exploration_prob: 1,
      halt_only: true,
    }),
    train: trainConfig({
      lr: 4e-3,
      lr_warmup_steps: 50,
      total_steps: 2500,
      lr_schedule: "linear",
      lr_decay_start: 0.8,
      lr_min_ratio: 0.2,
      weight_decay: 0.1,
      ema_decay: 0.995,
    }),
    stopAt: 0.97,
    evalEvery: 125,
    evalLimit: 256,
  },
  {
    ...sudoku4,
    name: "sudoku4-official",
    summary:
      "4x4 Sudoku by the official recipe: full ACT with the second forward, SwiGLU inner 256, 133,000 parameters",
    departures: [
      "learned positions instead of rotary ones",
      "evaluates and solves with a moving average (EMA) of the weights",
    ],
    model: modelConfig({ ...tiny, hidden_size: 64 }),
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
    evalLimit: 256,
  },
];

/** Names of the presets. */
export const presetNames: readonly string[] = PRESETS.map((p) => p.name);

/** A preset by name; undefined where there is none. */
export const findPreset = (name: string): Preset | undefined => PRESETS.find((p) => p.name === name);
