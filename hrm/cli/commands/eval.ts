/** `hrm eval`: scores a checkpoint on the test puzzles of its task. */
import type { Checkpoint } from "../../files/checkpoints/checkpoint.js";
import { createEvaluator, type BatchAnswers } from "../../training/evaluation.js";
import { findPreset } from "../../training/presets.js";
import { majorityOfBlanks, takePuzzles, type PuzzleSet } from "../../puzzles/puzzle_set.js";
import { formatText } from "../../format_value.js";
import { formatPercent, formatProportion } from "../../training/statistics.js";
import {
  countObeying,
  countSeveralAnswers,
  hasRules,
  type ObeyingAnswers,
  type SeveralAnswers,
} from "../../puzzles/answers.js";
import { difficultyBands } from "../../puzzles/difficulty.js";
import { censusOf, earlyHalting, rightAfter } from "../../thinking/census.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { fileExists } from "../disk/file_exists.js";
import { ArgumentError, parseArguments, type Command } from "../../terminal/arguments.js";
import { arcNames, arcScores, describeArc, votesOf, warnOfUntrained } from "../inputs/arc_votes.js";
import { onGridOf } from "../inputs/other_grid.js";
import { checkpointOptions, loadCheckpoint, taskOf, uploadWeights } from "../inputs/checkpoint_file.js";
import {
  columnsOption,
  describeBlanks,
  namedTask,
  puzzleFile,
  readPuzzles,
  requireTask,
  splitsOf,
  taskOption,
  type PuzzleFile,
} from "../inputs/puzzle_files.js";
import { adapterOptions, jsonOption } from "../options/common.js";
import { writeFileSafely } from "../disk/output.js";
import { openAnnounced } from "../runs/open_device.js";
import { printJson, say, show } from "../output/console.js";
import { encodePredictions, predictionLines } from "../output/predictions.js";
import { bandScores, bandTable, haltingLine, segmentLine } from "../output/score_tables.js";

const options = {
  ...checkpointOptions,
  limit: { type: "int", min: 1, help: "puzzles to score", defaultText: "all" },
  data: {
    type: "string",
    help: "file, folder or address of the puzzles to score: .csv, .jsonl, or an official data set (its test half)",
    defaultText: "the test puzzles of the run's preset",
    placeholder: "path",
  },
  test: { type: "string", help: "the same as --data", placeholder: "path" },
  columns: columnsOption,
  "any-size": {
    type: "bool",
    default: false,
    help: "score puzzles of another size than the model was trained on, such as larger mazes; needs rotary positions",
  },
  task: taskOption,
  seed: {
    type: "int",
    min: 0,
    max: 2 ** 32 - 1,
    help: "seed of the split; another than the run's may test on puzzles it was trained on",
    defaultText: "the training run's",
  },
  predictions: {
    type: "string",
    help: "file for every answer, with q_halt, the segment at which the model would stop, and the rule check: .csv or .jsonl",
    placeholder: "file",
    defaultText: "no file",
  },
  overwrite: { type: "bool", default: false, help: "replace the file of --predictions if it exists" },
  ...adapterOptions,
  json: jsonOption,
} as const;

const command: Command<typeof options> = {
  name: "hrm eval",
  summary: "Scores a checkpoint on held-out test puzzles.",
  options,
};

/** Rows of a batch, if there are as many puzzles. */
const BATCH = 64;

/** Runs `hrm eval`. */
export async function evalCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values } = parsed;
  const puzzles = puzzleFile(values);
  const format = await predictionsFormat(values);
  const { checkpoint: trained, description } = await loadCheckpoint({ ...values, puzzles });
  if (values["any-size"] && !puzzles)
    throw new ArgumentError("--any-size: got no --data; expected the puzzles of another size.");
  const {
    data: all,
    origin,
    checkpoint,
    task,
  } = values["any-size"]
    ? await otherPuzzles(trained, puzzles!, values.task)
    : await ownPuzzles(trained, { puzzles, seed: values.seed, task: values.task });
  const count = Math.min(values.limit ?? all.count, all.count);
  const data = takePuzzles(
    all,
    Array.from({ length: count }, (_, row) => row),
  );
  const names = puzzles && (await arcNames(puzzles, data, task));
  if (names) await warnOfUntrained(puzzles, data, task);
  const device = await openAnnounced(values.adapter);
  try {
    say(`weights   ${description}`);
    say(`data      ${origin}`);
    const rules = hasRules(task) ? { obeying: 0, differing: 0 } : null;
    const batches: BatchAnswers[] = [];
    const evaluator = await createEvaluator({
      device,
      config: { ...checkpoint.config, batch_size: Math.min(BATCH, count) },
      weights: uploadWeights(device, checkpoint, values.weights),
      data,
      onAnswers: (batch) => {
        batches.push(batch);
        if (!rules) return;
        const { obeying, differing } = countObeying(data, task, batch.first, batch.tokens);
        rules.obeying += obeying;
        rules.differing += differing;
      },
      ...(values.segments !== undefined && { segments: values.segments }),
    });
    const scores = await evaluator.run();
    show(
      `exact ${formatProportion(scores.exact, scores.count)} of ${scores.count} (95% interval); cells ${formatPercent(scores.cellAccuracy)}; ` +
        `${describeBlanks(scores, data)}; q_halt right ${formatPercent(scores.qHaltAccuracy)}; ${scores.meanSteps.toFixed(2)} segments`,
      values,
    );
    if (scores.nonFinite > 0) warnOfNonFinite(scores);
    const votes = names && votesOf(data, names, batches);
    if (votes) show(describeArc(votes, names), values);
    const answers = countSeveralAnswers(data, task);
    if (rules) show(describeRules(task, data.count, rules, answers), values);
    else say(`rules     none are known for ${task.name}: answers are compared with labels alone`);
    const census = { ...censusOf(batches), haltOnly: checkpoint.config.halt_only };
    const bands = bandScores(census, difficultyBands(data, task));
    show(segmentLine(census), values);
    show(haltingLine(census), values);
    if (bands.length > 0) show(bandTable(bands), values);
    else say(`bands     no measure of difficulty is known for ${task.name}`);
    if (values.predictions !== undefined) {
      const tokens = Int32Array.from(batches.flatMap((batch) => [...batch.tokens]));
      await writePredictions(values.predictions, predictionLines(data, task, census, tokens), format);
    }
    if (values.json) {
      const { exactAccuracy, cellAccuracy, blankAccuracy, qHaltAccuracy, meanSteps } = scores;
      printJson({
        count: scores.count,
        exactAccuracy,
        cellAccuracy,
        blankAccuracy,
        majorityBlankAccuracy: majorityOfBlanks(data),
        qHaltAccuracy,
        meanSteps,
        nonFinite: scores.nonFinite,
        rulesObeyed: rules?.obeying ?? null,
        rulesObeyedUnlikeLabel: rules?.differing ?? null,
        severalAnswers: answers?.several ?? null,
        severalAnswersCountedOf: answers?.counted ?? null,
        exactAfterSegment: Array.from(rightAfter(census), (exact) => exact / scores.count),
        earlyHalting: earlyHalting(census),
        byDifficulty: bands,
        ...(votes && { arc: arcScores(votes) }),
        adapter: device.adapter.name,
      });
    }
    return scores.nonFinite > 0 ? 1 : 0;
  } finally {
    device.destroy();
  }
}

function warnOfNonFinite({ nonFinite, count }: { readonly nonFinite: number; readonly count: number }): void {
  say(
    `warning   the logits of ${nonFinite} of ${count} puzzles are NaNs or infinities: these scores mean nothing; use weights from before training left the finite numbers`,
  );
}

async function writePredictions(
  path: string,
  lines: Parameters<typeof encodePredictions>[0],
  format: Parameters<typeof encodePredictions>[1],
): Promise<void> {
  await writeFileSafely(path, encodePredictions(lines, format));
  say(`wrote     ${path} (${lines.length} answers)`);
}

/** The format of the predictions, which follows from the name of their file. @throws ArgumentError */
async function predictionsFormat({
  predictions,
  overwrite,
}: {
  readonly predictions: string | undefined;
  readonly overwrite: boolean;
}): Promise<"csv" | "jsonl"> {
  if (predictions === undefined) {
    if (overwrite) throw new ArgumentError("--overwrite: got no --predictions; expected a file to replace.");
    return "csv";
  }
  const ending = /\.(csv|jsonl)$/i.exec(predictions)?.[1]?.toLowerCase();
  if (ending !== "csv" && ending !== "jsonl")
    throw new ArgumentError(
      `--predictions: got ${formatText(predictions, 200)}; expected a name that ends in .csv or .jsonl.`,
    );
  if (!overwrite && (await fileExists(predictions)))
    throw new ArgumentError(`--predictions: ${predictions} exists; give another name, or --overwrite.`);
  return ending;
}

/** Puzzles of any size, and the checkpoint adapted to their grid. @throws ArgumentError */
async function otherPuzzles(
  trained: Checkpoint,
  { path, option, columns }: PuzzleFile,
  name: string | undefined,
) {
  const named = name !== undefined && { task: requireTask(name), ownIdentifiers: true };
  const { set, task } = await readPuzzles(path, option, { split: "test", columns, ...named });
  const checkpoint = onGridOf(trained, task);
  const { grid_rows, grid_columns, seq_len } = trained.config;
  const before = grid_rows > 0 ? `${grid_rows}x${grid_columns}` : `${seq_len} cells`;
  const origin = `${set.count} puzzles of ${path}: ${task.rows}x${task.columns}, by a model trained on ${before}`;
  return { data: set, origin, checkpoint, task };
}

/** Puzzles of the checkpoint's own size. @throws ArgumentError */
async function ownPuzzles(
  checkpoint: Checkpoint,
  {
    puzzles,
    seed,
    task: name,
  }: { puzzles: PuzzleFile | null; seed: number | undefined; task: string | undefined },
) {
  const task = namedTask(taskOf(checkpoint), name);
  return { ...(await testPuzzles(checkpoint, { puzzles, seed, task })), checkpoint, task };
}

/** What the rules say about the answers and about the puzzles. */
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

/** The puzzles to score, and where they come from in words. @throws ArgumentError */
async function testPuzzles(
  checkpoint: Checkpoint,
  { puzzles, seed: given, task }: { puzzles: PuzzleFile | null; seed: number | undefined; task: Task },
): Promise<{ data: PuzzleSet; origin: string }> {
  if (puzzles) {
    const { path, option, columns } = puzzles;
    if (given !== undefined)
      throw new ArgumentError(
        `--seed: got ${given} with ${option}; expected no seed where puzzles come from a file.`,
      );
    const { set } = await readPuzzles(path, option, { task, split: "test", columns });
    return { data: set, origin: `${set.count} puzzles of ${path}` };
  }
  const preset = findPreset(checkpoint.task);
  if (!preset || checkpoint.data !== undefined) {
    throw new ArgumentError(
      `--data: got nothing; this checkpoint was trained on ${formatText(checkpoint.data ?? checkpoint.task, 200)}, so name the file with the puzzles to score.`,
    );
  }
  const seed = given ?? checkpoint.seed ?? 0;
  const untouched =
    seed === checkpoint.seed
      ? "which the run left untouched"
      : `another than the run's (${checkpoint.seed ?? "unknown"}), so it may have been trained on some of these`;
  return { data: splitsOf(preset, seed).test, origin: `test puzzles of seed ${seed}, ${untouched}` };
}
