/** Answers of a model to a puzzle set, as arrays on the host, and their scores. */
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import type { Scores } from "./evaluation.js";

/** Answers to the puzzles of a set, each with what the model said of it after every segment. */
export interface Answers {
  /** Puzzles of the set. */
  readonly puzzles: number;
  /** The most segments that a puzzle may run. */
  readonly segments: number;
  /** The answer where the puzzle stopped (with `keep_best_answer` that of the segment with the highest q_halt): tokens [puzzles, S]. */
  readonly tokens: Int32Array;
  /** q_halt of the answer: where the puzzle stopped, or with `keep_best_answer` the highest so far [puzzles]. */
  readonly qAnswer: Float32Array;
  /** Segments that each puzzle ran until it stopped [puzzles]; 0 for a puzzle that did not stop before the work was given up. */
  readonly ran: Int32Array;
  /** Logits after each segment [puzzles, segments]; after the last segment that ran they stay as they are. */
  readonly qHalt: Float32Array;
  /** [puzzles, segments] */
  readonly qContinue: Float32Array;
  /** 1 if every labelled cell is right after this segment [puzzles, segments]. */
  readonly right: Uint8Array;
  /** 1 if a logit of the last segment is a NaN or an infinity [puzzles]. */
  readonly lost: Uint8Array;
  /** Segments that rows of batches computed in all, also those of rows that had no puzzle any more. */
  readonly computed: number;
}

/** Rows of the puzzles that stopped, ascending. */
export const finishedRows = ({ ran }: Answers): number[] => [...ran.keys()].filter((row) => ran[row]! > 0);

/** The answers of some puzzles, in the order of `rows`. */
export function takeAnswers(answers: Answers, rows: readonly number[]): Answers {
  const length = answers.tokens.length / answers.puzzles;
  const take = <T extends Int32Array | Float32Array | Uint8Array>(from: T, each: number): T => {
    const to = new (from.constructor as new (length: number) => T)(rows.length * each);
    rows.forEach((row, i) => to.set(from.subarray(row * each, (row + 1) * each), i * each));
    return to;
  };
  const { segments } = answers;
  return {
    ...{ puzzles: rows.length, segments, computed: answers.computed },
    tokens: take(answers.tokens, length),
    qAnswer: take(answers.qAnswer, 1),
    ran: take(answers.ran, 1),
    qHalt: take(answers.qHalt, segments),
    qContinue: take(answers.qContinue, segments),
    right: take(answers.right, segments),
    lost: take(answers.lost, 1),
  };
}

/** The scores of answers that are complete: those that `createEvaluator` sums on the device. */
export function scoresOf({ inputs, labels, length }: PuzzleSet, answers: Answers): Scores {
  const { puzzles, tokens, ran, qAnswer, lost } = answers;
  let [count, exact, cells, qRight, steps, lostRows] = [0, 0, 0, 0, 0, 0];
  let [blanks, blanksRight] = [0, 0];
  for (let row = 0; row < puzzles; row++) {
    let [labelled, right] = [0, 0];
    for (let at = row * length; at < (row + 1) * length; at++) {
      const label = labels[at]!;
      if (label < 0) continue;
      const same = Number(tokens[at] === label);
      labelled++;
      right += same;
      if (label === inputs[at]) continue;
      blanks++;
      blanksRight += same;
    }
    if (labelled === 0) continue;
    const solved = right === labelled;
    count++;
    exact += Number(solved);
    cells += right / labelled;
    qRight += Number(qAnswer[row]! >= 0 === solved);
    steps += ran[row]!;
    lostRows += lost[row]!;
  }
  const n = Math.max(1, count);
  return {
    ...{ count, exact, exactAccuracy: exact / n, cellAccuracy: cells / n },
    ...{ blankAccuracy: blanksRight / blanks, qHaltAccuracy: qRight / n, meanSteps: steps / n },
    nonFinite: lostRows,
  };
}
