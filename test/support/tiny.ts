/** The smallest tasks and models that still have every part. */
import {
  IGNORE_LABEL,
  modelConfig,
  trainConfig,
  type HrmConfig,
  type PuzzleSet,
  type TrainConfig,
} from "../../hrm/index.js";
import { threefry2x32 } from "../../kernels/random.js";

/** Every part of the official model: rotary positions, puzzle embeddings with padding, full ACT, exploration. */
export const official: HrmConfig = modelConfig({
  batch_size: 5,
  seq_len: 6,
  vocab_size: 7,
  puzzle_emb_ndim: 10,
  num_puzzle_identifiers: 4,
  H_cycles: 2,
  L_cycles: 2,
  H_layers: 1,
  L_layers: 1,
  hidden_size: 8,
  num_heads: 2,
  swiglu_multiple: 8,
  halt_max_steps: 3,
  halt_exploration_prob: 0.4,
});

/** The preset's options: learned positions, halt-only ACT. */
export const haltOnly: HrmConfig = modelConfig({
  ...official,
  pos_encodings: "learned",
  halt_only: true,
  puzzle_emb_ndim: 0,
  num_puzzle_identifiers: 1,
  loss_type: "softmax_cross_entropy",
});

/** A short schedule with a moving average. */
export const training: TrainConfig = trainConfig({
  lr: 3e-3,
  lr_warmup_steps: 5,
  total_steps: 1000,
  ema_decay: 0.9,
});

/** Random tokens, some labels ignored, the last puzzle without any label. */
export function randomPuzzles(count: number, config: HrmConfig, seed: number): PuzzleSet {
  const { seq_len: length, vocab_size, num_puzzle_identifiers } = config;
  let counter = 0;
  const draw = (n: number): number => threefry2x32([seed, 7], [counter++, 0])[0] % n;
  return {
    count,
    length,
    inputs: Int32Array.from({ length: count * length }, () => draw(vocab_size)),
    labels: Int32Array.from({ length: count * length }, (_, i) =>
      draw(5) === 0 || i >= (count - 1) * length ? IGNORE_LABEL : draw(vocab_size),
    ),
    identifiers: Int32Array.from({ length: count }, () => draw(num_puzzle_identifiers)),
  };
}

/**
 * Permutations of 1..4 written twice, each cell shown in one of the halves only (0 elsewhere): a row can be completed
 * by looking at the other half. All 384 of them in random order, the first 256 to train on, the others unseen.
 */
export function rowCompletion(seed: number): { train: PuzzleSet; test: PuzzleSet } {
  const permutations = [1, 2, 3, 4].flatMap((a) =>
    [1, 2, 3, 4].flatMap((b) =>
      [1, 2, 3, 4].flatMap((c) => (new Set([a, b, c]).size === 3 ? [[a, b, c, 10 - a - b - c]] : [])),
    ),
  );
  const all = permutations
    .flatMap((row) => Array.from({ length: 16 }, (_, mask) => ({ row, mask })))
    .map((puzzle, i) => ({ ...puzzle, key: threefry2x32([seed, 8], [i, 0])[0] }))
    .sort((a, b) => a.key - b.key);
  const set = (puzzles: typeof all): PuzzleSet => ({
    count: puzzles.length,
    length: 8,
    inputs: Int32Array.from(
      puzzles.flatMap(({ row, mask }) => [
        ...row.map((n, i) => ((mask >> i) & 1 ? n : 0)),
        ...row.map((n, i) => ((mask >> i) & 1 ? 0 : n)),
      ]),
    ),
    labels: Int32Array.from(puzzles.flatMap(({ row }) => [...row, ...row])),
    identifiers: new Int32Array(puzzles.length),
  });
  return { train: set(all.slice(0, 256)), test: set(all.slice(256)) };
}
