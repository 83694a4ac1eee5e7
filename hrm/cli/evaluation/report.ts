/** Prints the scores and tables of `hrm eval`. */
import type { Scores } from "../../training/evaluation.js";
import { finishedRows, scoresOf, takeAnswers, type Answers } from "../../training/answers.js";
import { chooseAnswers } from "../../training/image_votes.js";
import { formatPercent, formatProportion } from "../../training/statistics.js";
import {
  countObeying,
  countSeveralAnswers,
  hasRules,
  type ObeyingAnswers,
  type SeveralAnswers,
} from "../../puzzles/answers.js";
import { difficultyBands } from "../../puzzles/difficulty.js";
import { majorityOfBlanks, takePuzzles, type PuzzleSet } from "../../puzzles/puzzle_set.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { earlyHalting, rightAfter } from "../../thinking/census.js";
import { arcScores, describeArc, votesOf } from "../inputs/arc_votes.js";
import { describeBlanks } from "../inputs/puzzle_files.js";
import { say, show } from "../output/console.js";
import type { Predictions } from "../output/predictions.js";
import { bandScores, bandTable, limitRows, limitTable, stoppingRule } from "../output/score_tables.js";
import type { Choice } from "./options.js";

/** The answers of a command, as far as it came. */
export interface Evaluated {
  /** The puzzles that were to be answered. */
  readonly asked: PuzzleSet;
  readonly task: Task;
  /** Names of the images of ARC tasks; null for other puzzles. */
  readonly names: readonly string[] | null;
  readonly haltOnly: boolean;
  readonly choice: Choice;
  /** Answers to all images and tries. */
  readonly all: Answers;
}

/** The printed figures, for the files and the JSON object. */
export interface EvaluationReport extends Predictions {
  readonly scores: Scores;
  /** The fields of the JSON object. */
  readonly json: Readonly<Record<string, unknown>>;
}

/** Prints the scores and tables of the puzzles that were answered; null if there is none. */
export function reportAnswers(
  evaluated: Evaluated,
  { json }: { readonly json: boolean },
): EvaluationReport | null {
  const { asked, task, names, haltOnly, choice, all } = evaluated;
  const { images, tries, haltAbove } = choice;
  const voting = images.length * tries > 1;
  const chosen = voting ? chooseAnswers(all, images, tries) : null;
  const rows = chosen?.rows ?? finishedRows(all);
  const partial = rows.length < asked.count;
  if (rows.length === 0) {
    show(`partial: none of ${asked.count} puzzles was answered before the stop`, { json });
    return null;
  }
  const data = partial ? takePuzzles(asked, rows) : asked;
  const answers = chosen?.answers ?? (partial ? takeAnswers(all, rows) : all);
  const scores = scoresOf(data, answers);
  const print = (text: string): void => show(text, { json });
  if (partial)
    print(
      `partial: ${rows.length} of ${asked.count} puzzles were answered before the stop; all figures are of these`,
    );
  print(scoreLine(scores, data));
  if (scores.nonFinite > 0)
    say(
      `warning   the logits of ${scores.nonFinite} of ${scores.count} puzzles are NaNs or infinities: these scores mean nothing; use weights from before training left the finite numbers`,
    );
  const single = chosen && scoresOf(data, chosen.first);
  const cost = costOf(evaluated, partial);
  if (chosen)
    print(
      `chosen among ${images.length} ${images.length === 1 ? "image" : "images"} x ${tries} ${tries === 1 ? "try" : "tries"}: ${images.length * tries} forward passes for each puzzle; ` +
        `one pass alone: exact ${formatProportion(single!.exact, single!.count)}; ${formatPercent(chosen.agreement)} of the images gave the chosen answer`,
    );
  if (haltAbove !== undefined) print(haltingText(choice, haltOnly, cost, partial));
  const votes = names && votesOf(data, names, answers);
  if (votes) print(describeArc(votes, names));
  const several = countSeveralAnswers(data, task);
  const rules = hasRules(task) ? countObeying(data, task, 0, answers.tokens) : null;
  if (rules) print(describeRules(task, data.count, rules, several));
  else say(`rules     none are known for ${task.name}: answers are compared with labels alone`);
  const census = { ...answers, haltOnly, haltAbove: haltAbove ?? 0 };
  const bands = bandScores(census, difficultyBands(data, task));
  const limits = limitRows(census, haltAbove === undefined);
  print(limitTable(limits, census));
  if (bands.length > 0) print(bandTable(bands));
  else say(`bands     no measure of difficulty is known for ${task.name}`);
  const { exactAccuracy, cellAccuracy, blankAccuracy, qHaltAccuracy, meanSteps } = scores;
  return {
    ...{ scores, data, rows, answers, census },
    json: {
      ...{ count: scores.count, exactAccuracy, cellAccuracy, blankAccuracy },
      majorityBlankAccuracy: majorityOfBlanks(data),
      ...{ qHaltAccuracy, meanSteps, nonFinite: scores.nonFinite },
      rulesObeyed: rules?.obeying ?? null,
      rulesObeyedUnlikeLabel: rules?.differing ?? null,
      severalAnswers: several?.several ?? null,
      severalAnswersCountedOf: several?.counted ?? null,
      exactAfterSegment: Array.from(rightAfter(census), (exact) => exact / scores.count),
      ...{ earlyHalting: earlyHalting(census), limits, byDifficulty: bands },
      ...{ partial, asked: asked.count, computed: cost },
      ...(chosen && {
        voting: {
          images: images.length,
          tries,
          singleExactAccuracy: single!.exactAccuracy,
          agreement: chosen.agreement,
        },
      }),
      ...(votes && { arc: arcScores(votes) }),
    },
  };
}

const scoreLine = (scores: Scores, data: PuzzleSet): string =>
  `exact ${formatProportion(scores.exact, scores.count)} of ${scores.count} (95% interval); cells ${formatPercent(scores.cellAccuracy)}; ` +
  `${describeBlanks(scores, data)}; q_halt right ${formatPercent(scores.qHaltAccuracy)}; ${scores.meanSteps.toFixed(2)} segments`;

/** Segments of rows: how many were computed, and how many all segments of all passes are. */
interface Cost {
  readonly rowSegments: number;
  readonly ofRowSegments: number;
}

const costOf = ({ asked, all, choice }: Evaluated, partial: boolean): Cost | null =>
  partial
    ? null
    : {
        rowSegments: all.computed,
        ofRowSegments: asked.count * choice.images.length * choice.tries * all.segments,
      };

function haltingText({ haltAbove }: Choice, haltOnly: boolean, cost: Cost | null, partial: boolean): string {
  const rule = `puzzles stopped once ${stoppingRule({ haltOnly, haltAbove: haltAbove! })}`;
  if (partial || !cost) return `${rule}; what that saved is not known before the end`;
  const { rowSegments, ofRowSegments } = cost;
  return `${rule}: ${rowSegments} segments of rows were computed instead of ${ofRowSegments} (${formatPercent(1 - rowSegments / ofRowSegments)} saved, empty rows at the end counted)`;
}

/** How many answers obey the rules, and how many puzzles have several answers. */
function describeRules(
  { name }: Task,
  count: number,
  { obeying, differing }: ObeyingAnswers,
  answers: SeveralAnswers | null,
): string {
  const unlike = differing > 0 ? `, ${differing} of them unlike the label` : "";
  const obey = `rules of ${name}: ${formatPercent(obeying / count)} of the answers obey all (${obeying} of ${count}${unlike})`;
  if (!answers) return `${obey}; how many answers a puzzle has was not counted`;
  const { several, counted } = answers;
  const rest = counted < count ? `; the other ${count - counted} were not counted, to bound the work` : "";
  return `${obey}; ${several} of ${counted} puzzles have several answers${rest}`;
}
