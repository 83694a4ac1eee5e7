/** `hrm eval`: scores of a checkpoint on the test puzzles of its task. */
import type { Checkpoint } from "../../checkpoint.js";
import { createEvaluator } from "../../evaluate.js";
import { findPreset } from "../../presets.js";
import { majorityOfBlanks, takePuzzles, type PuzzleSet } from "../../puzzles.js";
import { shownText } from "../../shown.js";
import { formatPercent, formatProportion } from "../../statistics.js";
import { ArgumentError, parseArguments, type Command } from "../arguments.js";
import { onGridOf } from "../other_grid.js";
import { checkpointOptions, loadCheckpoint, taskOf, uploadWeights } from "../checkpoint_file.js";
import {
  columnsOption,
  describeBlanks,
  puzzleFile,
  readPuzzles,
  splitsOf,
  type PuzzleFile,
} from "../puzzle_files.js";
import { adapterOptions, jsonOption, openAnnounced, printJson, say, show } from "../shared.js";

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
  seed: {
    type: "int",
    min: 0,
    max: 2 ** 32 - 1,
    help: "seed of the split; another than the run's may test on puzzles it was trained on",
    defaultText: "the training run's",
  },
  ...adapterOptions,
  json: jsonOption,
} as const;

const command: Command<typeof options> = {
  name: "hrm eval",
  summary: "Scores a checkpoint on held-out test puzzles.",
  options,
};

/** Rows that run side by side, where there are as many puzzles. */
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
  const { checkpoint: trained, description } = await loadCheckpoint({ ...values, puzzles });
  if (values["any-size"] && !puzzles)
    throw new ArgumentError("--any-size: got no --data; expected the puzzles of another size.");
  const {
    data: all,
    origin,
    checkpoint,
  } = values["any-size"]
    ? await otherPuzzles(trained, puzzles!)
    : { ...(await testPuzzles(trained, { puzzles, seed: values.seed })), checkpoint: trained };
  const count = Math.min(values.limit ?? all.count, all.count);
  const data = takePuzzles(
    all,
    Array.from({ length: count }, (_, row) => row),
  );
  const device = await openAnnounced(values.adapter);
  try {
    say(`weights   ${description}`);
    say(`data      ${origin}`);
    const evaluator = await createEvaluator({
      device,
      config: { ...checkpoint.config, batch_size: Math.min(BATCH, count) },
      weights: uploadWeights(device, checkpoint, values.weights),
      data,
      ...(values.segments !== undefined && { segments: values.segments }),
    });
    const scores = await evaluator.run();
    show(
      `exact ${formatProportion(scores.exact, scores.count)} of ${scores.count} (95% interval); cells ${formatPercent(scores.cellAccuracy)}; ` +
        `${describeBlanks(scores, data)}; q_halt right ${formatPercent(scores.qHaltAccuracy)}; ${scores.meanSteps.toFixed(2)} segments`,
      values,
    );
    if (scores.nonFinite > 0)
      say(
        `warning   the logits of ${scores.nonFinite} of ${scores.count} puzzles are NaNs or infinities: these scores mean nothing; use weights from before training left the finite numbers`,
      );
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
        adapter: device.adapter.name,
      });
    }
    return scores.nonFinite > 0 ? 1 : 0;
  } finally {
    device.destroy();
  }
}

/** Puzzles of any size, with the checkpoint on their grid. @throws ArgumentError */
async function otherPuzzles(trained: Checkpoint, { path, option, columns }: PuzzleFile) {
  const { set, task } = await readPuzzles(path, option, { split: "test", columns });
  const checkpoint = onGridOf(trained, task);
  const { grid_rows, grid_columns, seq_len } = trained.config;
  const before = grid_rows > 0 ? `${grid_rows}x${grid_columns}` : `${seq_len} cells`;
  const origin = `${set.count} puzzles of ${path}: ${task.rows}x${task.columns}, by a model trained on ${before}`;
  return { data: set, origin, checkpoint };
}

/** The puzzles to score, and where they come from in words. @throws ArgumentError */
async function testPuzzles(
  checkpoint: Checkpoint,
  { puzzles, seed: given }: { puzzles: PuzzleFile | null; seed: number | undefined },
): Promise<{ data: PuzzleSet; origin: string }> {
  if (puzzles) {
    const { path, option, columns } = puzzles;
    if (given !== undefined)
      throw new ArgumentError(
        `--seed: got ${given} with ${option}; expected no seed where puzzles come from a file.`,
      );
    const { set } = await readPuzzles(path, option, { task: taskOf(checkpoint), split: "test", columns });
    return { data: set, origin: `${set.count} puzzles of ${path}` };
  }
  const preset = findPreset(checkpoint.task);
  if (!preset || checkpoint.data !== undefined) {
    throw new ArgumentError(
      `--data: got nothing; this checkpoint was trained on ${shownText(checkpoint.data ?? checkpoint.task, 200)}, so name the file with the puzzles to score.`,
    );
  }
  const seed = given ?? checkpoint.seed ?? 0;
  const untouched =
    seed === checkpoint.seed
      ? "which the run left untouched"
      : `another than the run's (${checkpoint.seed ?? "unknown"}), so it may have been trained on some of these`;
  return { data: splitsOf(preset, seed).test, origin: `test puzzles of seed ${seed}, ${untouched}` };
}
