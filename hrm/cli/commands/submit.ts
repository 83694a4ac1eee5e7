/** `hrm submit`: answers ARC tests and writes the file that ARC Prize takes. */
import { createAnswerer } from "../../training/answering.js";
import { arcSubmission } from "../../puzzles/arc/voting.js";
import { ArgumentError, parseArguments, type Command } from "../../terminal/arguments.js";
import { fileExists } from "../disk/file_exists.js";
import { writeFileSafely } from "../disk/output.js";
import { arcNames, arcScores, describeArc, votesOf, warnOfUntrained } from "../inputs/arc_votes.js";
import { checkpointOptions, loadCheckpoint, taskOf, uploadWeights } from "../inputs/checkpoint_file.js";
import { readPuzzles } from "../inputs/puzzle_files.js";
import { adapterOptions, jsonOption } from "../options/common.js";
import { printJson, say, show } from "../output/console.js";
import { openAnnounced } from "../runs/open_device.js";

const options = {
  ...checkpointOptions,
  data: {
    type: "string",
    help: "the data set folder of the run, as hrm generate --arc wrote it",
    placeholder: "folder",
  },
  out: { type: "string", help: "file to write, such as submission.json", placeholder: "file" },
  overwrite: { type: "bool", default: false, help: "replace the file if it exists" },
  ...adapterOptions,
  json: jsonOption,
} as const;

const command: Command<typeof options> = {
  name: "hrm submit",
  summary:
    "Answers the tests of an ARC data set with all images of each task, votes, and writes two attempts for each test in the form of ARC Prize.",
  options,
};

/** Rows of a batch, if there are as many. */
const BATCH = 64;

/** Runs `hrm submit`. */
export async function submitCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values } = parsed;
  const { data: path, out } = values;
  if (out === undefined)
    throw new ArgumentError("--out: got nothing; expected a file to write, such as submission.json.");
  if (path === undefined)
    throw new ArgumentError(
      "--data: got nothing; expected the data set folder that hrm generate --arc wrote.",
    );
  if (!values.overwrite && (await fileExists(out)))
    throw new ArgumentError(`--out: ${out} exists; give another name, or --overwrite.`);
  const puzzles = { path, option: "--data" };
  const { checkpoint, description } = await loadCheckpoint({ ...values, puzzles });
  const task = taskOf(checkpoint);
  const { set } = await readPuzzles(path, "--data", { task, split: "test" });
  const names = await arcNames(puzzles, set, task);
  if (!names)
    throw new ArgumentError(
      `--data: ${path} is no ARC data set; expected a folder with identifiers.json, as hrm generate --arc writes it.`,
    );
  await warnOfUntrained(puzzles, set, task);
  const device = await openAnnounced(values.adapter);
  try {
    say(`weights   ${description}`);
    say(`data      ${set.count} images of tests in ${path}`);
    const answerer = await createAnswerer({
      device,
      config: { ...checkpoint.config, batch_size: Math.min(BATCH, set.count) },
      weights: uploadWeights(device, checkpoint, values.weights),
      data: set,
      segments: values.segments,
    });
    const answers = await answerer.answer();
    const nonFinite = answers.lost.reduce((sum, lost) => sum + lost, 0);
    if (nonFinite > 0)
      say(
        `warning   the logits of ${nonFinite} of ${set.count} answers are NaNs or infinities: they mean nothing`,
      );
    const votes = votesOf(set, names, answers);
    const submission = arcSubmission(votes);
    await writeFileSafely(out, `${JSON.stringify(submission)}\n`);
    show(describeArc(votes, names), values);
    const empty = votes.filter(({ candidates }) => candidates.length === 0).length;
    if (empty > 0)
      say(
        `warning   ${empty} of ${votes.length} tests got no grid from any image: one black cell stands for it`,
      );
    const tasks = Object.keys(submission).length;
    say(`wrote     ${out} (${tasks} tasks, ${votes.length} tests, two attempts each)`);
    if (values.json)
      printJson({
        out,
        tasks,
        tests: votes.length,
        empty,
        ...arcScores(votes),
        adapter: device.adapter.name,
      });
    return nonFinite > 0 ? 1 : 0;
  } finally {
    device.destroy();
  }
}
