/** `hrm solve`: one puzzle, the answer after each segment. */
import { createSolver } from "../../evaluate.js";
import { PuzzleError, type Task } from "../../tasks/task.js";
import { ArgumentError, parseArguments, type Command } from "../arguments.js";
import { wantsColor } from "../render.js";
import {
  adapterOptions,
  checkpointOptions,
  jsonOption,
  loadCheckpoint,
  openAnnounced,
  presetOf,
  printJson,
  show,
  uploadWeights,
} from "../shared.js";
import { renderSolution } from "../solution.js";

const options = { ...checkpointOptions, ...adapterOptions, json: jsonOption } as const;

const command: Command<typeof options> = {
  name: "hrm solve",
  summary: "Solves a puzzle with a trained model and shows the grid after each ACT segment.",
  options,
  positionals: [
    { name: "puzzle", help: 'the puzzle row by row, "." for blanks: "1..4.....2.3...."', required: true },
  ],
};

/** Runs `hrm solve`. Exit code 1 where the answer breaks a rule. */
export async function solveCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values, positionals } = parsed;
  const checkpoint = await loadCheckpoint(values.checkpoint);
  const { task } = presetOf(checkpoint);
  const inputs = parsePuzzle(task, positionals[0]!);
  const device = await openAnnounced(values.adapter);
  try {
    const solver = await createSolver({
      device,
      config: checkpoint.config,
      weights: uploadWeights(device, checkpoint, values.weights),
    });
    const segments = await solver.solve(
      inputs,
      values.segments === undefined ? {} : { segments: values.segments },
    );
    const answer = segments.at(-1)!.prediction;
    const { solved } = task.check(inputs, answer);
    const stream = values.json ? process.stderr : process.stdout;
    show(renderSolution(task, inputs, segments, wantsColor(stream, process.env)), values);
    if (values.json) {
      printJson({
        solved,
        answer: task.format(answer),
        segments: segments.map((s) => ({ grid: task.format(s.prediction), qHalt: s.qHalt })),
        adapter: device.adapter.name,
      });
    }
    return solved ? 0 : 1;
  } finally {
    device.destroy();
  }
}

function parsePuzzle(task: Task, text: string): Int32Array {
  try {
    return task.parse(text);
  } catch (error) {
    throw error instanceof PuzzleError ? new ArgumentError(`<puzzle>: ${error.message}`) : error;
  }
}
