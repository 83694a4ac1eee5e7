/** `hrm solve`: one puzzle, the answer after each segment. */
import { createSolver } from "../../evaluate.js";
import { PuzzleError, type Task } from "../../tasks/task.js";
import { ArgumentError, parseArguments, type Command } from "../arguments.js";
import { checkpointOptions, loadCheckpoint, taskOf, uploadWeights } from "../checkpoint_file.js";
import { puzzleFile, readPuzzles, type PuzzleFile } from "../puzzle_files.js";
import { wantsColor } from "../render.js";
import { adapterOptions, jsonOption, openAnnounced, printJson, show } from "../shared.js";
import { renderSolution } from "../solution.js";

const options = {
  ...checkpointOptions,
  data: {
    type: "string",
    help: "file, folder or address of puzzles, instead of one on the command line",
    placeholder: "path",
  },
  test: { type: "string", help: "the same as --data", placeholder: "path" },
  number: { type: "int", min: 1, default: 1, help: "which puzzle of --data to solve" },
  ...adapterOptions,
  json: jsonOption,
} as const;

const command: Command<typeof options> = {
  name: "hrm solve",
  summary: "Solves a puzzle with a trained model and shows the grid after each ACT segment.",
  options,
  positionals: [
    { name: "puzzle", help: 'the puzzle row by row, "." for blanks: "1..4.....2.3....", unless --data' },
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
  const puzzles = puzzleFile(values);
  const { checkpoint } = await loadCheckpoint({ ...values, puzzles });
  const task = taskOf(checkpoint);
  const { inputs, identifier } = await choosePuzzle(task, positionals[0], puzzles, values.number);
  const device = await openAnnounced(values.adapter);
  try {
    const solver = await createSolver({
      device,
      config: checkpoint.config,
      weights: uploadWeights(device, checkpoint, values.weights),
    });
    const segments = await solver.solve(inputs, {
      identifier,
      ...(values.segments !== undefined && { segments: values.segments }),
    });
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

interface Chosen {
  readonly inputs: Int32Array;
  readonly identifier: number;
}

/** The puzzle on the command line, or the numbered one of a file. @throws ArgumentError */
async function choosePuzzle(
  task: Task,
  text: string | undefined,
  puzzles: PuzzleFile | null,
  number: number,
): Promise<Chosen> {
  if ((text === undefined) === (puzzles === null)) {
    throw new ArgumentError(
      `<puzzle>: got ${puzzles === null ? "nothing" : "a puzzle and a file"}; expected a puzzle row by row, or --data with a file of puzzles.`,
    );
  }
  if (text !== undefined) {
    try {
      return { inputs: task.parse(text), identifier: 0 };
    } catch (error) {
      throw error instanceof PuzzleError ? new ArgumentError(`<puzzle>: ${error.message}`) : error;
    }
  }
  const { path, option } = puzzles!;
  const { set } = await readPuzzles(path, option, { task, split: "test" });
  if (number > set.count)
    throw new ArgumentError(
      `--number: got ${number}; expected at most ${set.count}, the puzzles of ${path}.`,
    );
  const { length } = set;
  return {
    inputs: set.inputs.slice((number - 1) * length, number * length),
    identifier: set.identifiers[number - 1]!,
  };
}
