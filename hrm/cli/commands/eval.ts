/** `hrm eval`: scores a checkpoint on the test puzzles of its task. */
import type { Device } from "../../../engine/index.js";
import type { Checkpoint } from "../../files/checkpoints/checkpoint.js";
import { formatText } from "../../format_value.js";
import { takePuzzles, type PuzzleSet } from "../../puzzles/puzzle_set.js";
import { ArgumentError, parseArguments, type Command, type Values } from "../../terminal/arguments.js";
import { createAnswerer } from "../../training/answering.js";
import type { Answers } from "../../training/answers.js";
import { withAllImages } from "../../training/image_votes.js";
import { fileExists } from "../disk/file_exists.js";
import { writeFileSafely } from "../disk/output.js";
import { choiceOf, choiceOptions, type Choice } from "../evaluation/options.js";
import { otherPuzzles, ownPuzzles } from "../evaluation/puzzles.js";
import { reportAnswers } from "../evaluation/report.js";
import { arcNames, warnOfUntrained } from "../inputs/arc_votes.js";
import { checkpointOptions, loadCheckpoint, uploadWeights } from "../inputs/checkpoint_file.js";
import { columnsOption, puzzleFile, taskOption } from "../inputs/puzzle_files.js";
import { adapterOptions, jsonOption } from "../options/common.js";
import { printJson, say } from "../output/console.js";
import { encodePredictions, predictionLines } from "../output/predictions.js";
import { progressLine } from "../output/render.js";
import { watchInterrupt, type Interruption } from "../runs/interrupt.js";
import { openAnnounced } from "../runs/open_device.js";

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
  ...choiceOptions,
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
  const choice = choiceOf(values, task);
  const count = Math.min(values.limit ?? all.count, all.count);
  const asked = takePuzzles(
    all,
    Array.from({ length: count }, (_, row) => row),
  );
  const names = puzzles && (await arcNames(puzzles, asked, task));
  if (names) await warnOfUntrained(puzzles, asked, task);
  const device = await openAnnounced(values.adapter);
  const interruption = watchInterrupt(() =>
    say("\nstopping  after the segments under way; Ctrl-C again ends at once and prints nothing"),
  );
  try {
    say(`weights   ${description}`);
    say(`data      ${origin}`);
    const { config } = checkpoint;
    const answers = await answersOf({ device, checkpoint, asked, choice, interruption, values });
    const evaluated = { asked, task, names, haltOnly: config.halt_only, choice, all: answers };
    const report = reportAnswers(evaluated, values);
    if (report && values.predictions !== undefined) {
      const lines = predictionLines(report, task);
      await writeFileSafely(values.predictions, encodePredictions(lines, format));
      say(`wrote     ${values.predictions} (${lines.length} answers)`);
    }
    if (report && values.json) printJson({ ...report.json, adapter: device.adapter.name });
    if (interruption.signal !== null) return interruption.exitCode;
    return report!.scores.nonFinite > 0 ? 1 : 0;
  } finally {
    interruption.dispose();
    device.destroy();
  }
}

/** Answers to all images and tries of the puzzles, as far as they come before a stop. */
async function answersOf({
  device,
  checkpoint,
  asked,
  choice: { images, tries, noise, haltAbove },
  interruption,
  values,
}: {
  readonly device: Device;
  readonly checkpoint: Checkpoint;
  readonly asked: PuzzleSet;
  readonly choice: Choice;
  readonly interruption: Interruption;
  readonly values: Pick<Values<typeof options>, "weights" | "segments">;
}): Promise<Answers> {
  const data = images.length > 1 ? withAllImages(asked, images) : asked;
  const answerer = await createAnswerer({
    device,
    config: { ...checkpoint.config, batch_size: Math.min(BATCH, data.count * tries) },
    weights: uploadWeights(device, checkpoint, values.weights),
    ...{ data, noise, segments: values.segments },
  });
  const line = progressLine({ stream: process.stderr });
  const what = images.length * tries > 1 ? "passes" : "puzzles";
  try {
    return await answerer.answer({
      haltAbove,
      givenUp: () => interruption.signal !== null,
      onProgress: (finished, of) => {
        if (finished > 0 && finished < of) line.update(`answered  ${finished} of ${of} ${what}`);
      },
    });
  } finally {
    line.end();
    answerer.destroy();
  }
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
