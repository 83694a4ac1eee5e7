/**
 * Answers to the images of ARC tests, mapped back and voted on, as the official evaluation does it (arc_eval.ipynb): the
 * answers with the most votes win, and among equal numbers of votes those with the larger mean of sigmoid(q_halt).
 */
import type { PuzzleSet } from "../puzzle_set.js";
import { cropCanvas, gridKey, gridRows, type ArcGrid } from "./grid.js";
import { parseImageName, preimageOf } from "./image.js";

/** An answer that at least one image of a test got. */
export interface ArcCandidate {
  /** The answer, mapped back. */
  readonly grid: ArcGrid;
  /** Images that got this answer. */
  readonly votes: number;
  /** Mean over these images of sigmoid(q_halt), from 0 to 1. */
  readonly confidence: number;
}

/** A test with the answers to all its images. */
export interface ArcVote {
  /** Name of the task. */
  readonly task: string;
  /** The right answer; null if it is not known. */
  readonly answer: ArcGrid | null;
  /** The answers, best first. An answer without a grid at the corner of its canvas has no vote. */
  readonly candidates: readonly ArcCandidate[];
}

/** Predictions of a set of ARC tests. */
export interface ArcPredictions {
  /** The tests: those of a task and all its images, square canvases. */
  readonly set: PuzzleSet;
  /** The name of each puzzle identifier. */
  readonly identifiers: readonly string[];
  /** Answers, tokens [count, length]. */
  readonly tokens: Int32Array;
  /** q_halt of each answer, a logit, [count]. */
  readonly qHalt: ArrayLike<number>;
}

interface Test {
  answer: ArcGrid | null;
  readonly pool: Map<string, { readonly grid: ArcGrid; votes: number; sum: number }>;
}

/**
 * Votes on the tests of every task, in the order in which they appear. Images belong to the test whose input they show, once
 * they are mapped back; rows without a task (identifier 0) are left out.
 */
export function voteArc({ set, identifiers, tokens, qHalt }: ArcPredictions): ArcVote[] {
  const { count, length } = set;
  const side = Math.sqrt(length);
  /** By task: the puzzle that gives the order of its tests, and the tests by their inputs. */
  const tasks = new Map<
    string,
    { readonly first: number; readonly order: Test[]; readonly tests: Map<string, Test> }
  >();
  for (let row = 0; row < count; row++) {
    const identifier = set.identifiers[row]!;
    if (identifier === 0) continue;
    const { id, image } = parseImageName(identifiers[identifier]!);
    const gridOf = (cells: Int32Array): ArcGrid | null => {
      const grid = cropCanvas(cells.subarray(row * length, (row + 1) * length), side);
      return grid && image ? preimageOf(grid, image) : grid;
    };
    const input = gridOf(set.inputs);
    if (!input) continue;
    let task = tasks.get(id);
    if (!task) tasks.set(id, (task = { first: identifier, order: [], tests: new Map() }));
    const key = gridKey(input);
    let test = task.tests.get(key);
    if (!test) task.tests.set(key, (test = { answer: null, pool: new Map() }));
    // A task may ask for the same grid twice. Images never come before the first puzzle of a task.
    if (task.first === identifier || !task.order.includes(test)) task.order.push(test);
    test.answer ??= gridOf(set.labels);
    const grid = gridOf(tokens);
    if (!grid) continue;
    const answer = gridKey(grid);
    const known = test.pool.get(answer) ?? { grid, votes: 0, sum: 0 };
    known.votes++;
    known.sum += sigmoid(qHalt[row]!);
    test.pool.set(answer, known);
  }
  return [...tasks].flatMap(([task, { order }]) =>
    order.map(({ answer, pool }) => ({
      task,
      answer,
      candidates: [...pool.values()]
        .map(({ grid, votes, sum }) => ({ grid, votes, confidence: sum / votes }))
        .sort((a, b) => b.votes - a.votes || b.confidence - a.confidence),
    })),
  );
}

/** A number that is not finite counts as no confidence. */
function sigmoid(logit: number): number {
  return Number.isNaN(logit) ? 0 : 1 / (1 + Math.exp(-logit));
}

/** How many tests are right with some attempts each. */
export interface ArcScore {
  /** Tests whose answer is known. */
  readonly tests: number;
  /** Tests of which one of the attempts is right. */
  readonly right: number;
  /** Tasks with such tests. */
  readonly tasks: number;
  /** ARC's score: the sum over tasks of the share of their tests that are right. */
  readonly score: number;
}

/** The score with this number of attempts (pass@1: one, pass@2: two). */
export function scoreArc(votes: readonly ArcVote[], attempts: number): ArcScore {
  const byTask = new Map<string, { tests: number; right: number }>();
  for (const { task, answer, candidates } of votes) {
    if (!answer) continue;
    const found = byTask.get(task) ?? { tests: 0, right: 0 };
    found.tests++;
    const key = gridKey(answer);
    found.right += Number(candidates.slice(0, attempts).some(({ grid }) => gridKey(grid) === key));
    byTask.set(task, found);
  }
  const all = [...byTask.values()];
  const sum = (of: (task: { tests: number; right: number }) => number) =>
    all.reduce((total, task) => total + of(task), 0);
  return {
    tests: sum(({ tests }) => tests),
    right: sum(({ right }) => right),
    tasks: all.length,
    score: sum(({ tests, right }) => right / tests),
  };
}

/** Two attempts for a test, as ARC Prize takes them. */
export interface ArcAttempts {
  /** The first attempt, rows of colours. */
  readonly attempt_1: number[][];
  /** The second attempt, rows of colours. */
  readonly attempt_2: number[][];
}

/**
 * The file that ARC Prize takes: for each task, two attempts for each of its tests. A single candidate is given twice; a test
 * without any gets one black cell, because the form wants a grid.
 */
export function arcSubmission(votes: readonly ArcVote[]): Record<string, ArcAttempts[]> {
  const tasks = new Map<string, ArcAttempts[]>();
  for (const { task, candidates } of votes) {
    const first = candidates[0] ? gridRows(candidates[0].grid) : [[0]];
    const second = candidates[1] ? gridRows(candidates[1].grid) : first;
    const attempts = tasks.get(task) ?? [];
    attempts.push({ attempt_1: first, attempt_2: second });
    tasks.set(task, attempts);
  }
  return Object.fromEntries(tasks);
}
