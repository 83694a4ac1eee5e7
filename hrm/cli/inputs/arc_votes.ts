/** Voting on the answers to ARC tests, for `hrm eval` and `hrm submit`. */
import { formatProportion } from "../../training/statistics.js";
import { FileFormatError } from "../../files/file_format_error.js";
import type { Answers } from "../../training/answers.js";
import { ARC } from "../../puzzles/arc/grid.js";
import { scoreArc, voteArc, type ArcScore, type ArcVote } from "../../puzzles/arc/voting.js";
import { parseImageName } from "../../puzzles/arc/image.js";
import { untrainedIdentifiers } from "../../puzzles/examples.js";
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { say } from "../output/console.js";
import { openSource, readPuzzles, type PuzzleFile } from "./puzzle_files.js";

/** True if puzzles have the canvas and the tokens of ARC. */
export function hasArcShape({ rows, columns, vocabSize }: Task): boolean {
  return rows === columns && rows <= ARC.side && vocabSize === ARC.vocabSize;
}

/**
 * The names of the puzzle identifiers of an ARC data set folder, from its identifiers.json; null if the puzzles are not of
 * ARC. @throws ArgumentError if the file is damaged or names too few
 */
export async function arcNames(
  { path, option }: PuzzleFile,
  set: PuzzleSet,
  task: Task,
): Promise<readonly string[] | null> {
  if (!hasArcShape(task)) return null;
  const source = await openSource(path, option);
  if (source.kind === "file") return null;
  // The folder may be the half of a data set, which has the names beside it.
  const nested = (await source.read("dataset.json")) === null;
  const file = nested ? "identifiers.json" : "../identifiers.json";
  const bytes = await source.read(file);
  if (!bytes) return null;
  const fail = (problem: string): ArgumentError =>
    new ArgumentError(
      `${option}: ${new FileFormatError("dataset", problem, { file: `${path}/${file}` }).message}`,
    );
  let names: unknown;
  try {
    names = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw fail(`not JSON: ${(error as Error).message.slice(0, 100)}`);
  }
  if (!Array.isArray(names) || !names.every((name): name is string => typeof name === "string"))
    throw fail("expected a list of the names of puzzle identifiers");
  const used = set.identifiers.reduce((most, identifier) => Math.max(most, identifier), 0);
  if (used === 0) return null;
  if (names.length <= used) throw fail(`${names.length} names; the test set has the identifier ${used}`);
  return names;
}

/** Warns if tests have identifiers that the training half of the folder does not have, or if it has no such half. */
export async function warnOfUntrained(
  { path, option }: PuzzleFile,
  set: PuzzleSet,
  task: Task,
): Promise<void> {
  const source = await openSource(path, option);
  if (source.kind === "file" || !(await source.read("train/dataset.json"))) {
    say(`warning   ${path} has no training half: whether its identifiers were trained is not known`);
    return;
  }
  const { set: train } = await readPuzzles(path, option, { task, split: "train" });
  const { used, untrained } = untrainedIdentifiers(set, train);
  if (untrained > 0)
    say(
      `warning   ${untrained} of ${used} identifiers are not in training: their puzzle embedding stays at its start, so that their answers tell nothing of what was learned`,
    );
}

/** Votes on the answers. */
export function votesOf(
  set: PuzzleSet,
  names: readonly string[],
  { tokens, qAnswer }: Pick<Answers, "tokens" | "qAnswer">,
): ArcVote[] {
  return voteArc({ set, identifiers: names, tokens, qHalt: qAnswer });
}

/** pass@1 and pass@2. */
export function arcScores(votes: readonly ArcVote[]) {
  return { pass1: scoreArc(votes, 1), pass2: scoreArc(votes, 2) };
}

/** Lines with the scores, each with its 95% interval. */
export function describeArc(votes: readonly ArcVote[], names: readonly string[]): string {
  const images = names.filter((name) => parseImageName(name).image !== null).length;
  const line = (attempts: number, { tests, right, tasks, score }: ArcScore): string =>
    `pass@${attempts} ${formatProportion(score, tasks)} of ${tasks} tasks (95% interval; ${right} of ${tests} tests right)`;
  const { pass1, pass2 } = arcScores(votes);
  if (pass1.tests === 0) return "pass@1 and pass@2 are not known: no test has its output";
  return `${line(1, pass1)}\n${line(2, pass2)}\nvotes of all images of a task (${images} images are in the data set); equal votes are decided by the mean of sigmoid(q_halt)`;
}
