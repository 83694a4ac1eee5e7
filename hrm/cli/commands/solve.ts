/** `hrm solve`: solves one puzzle and shows the answer after each segment. */
import type { Device } from "../../../engine/index.js";
import { createSolver } from "../../training/evaluation.js";
import { judge } from "../../puzzles/tasks/judgement.js";
import { PuzzleError, type Task } from "../../puzzles/tasks/task.js";
import { ArgumentError, parseArguments, type Command } from "../../terminal/arguments.js";
import { checkpointOptions, loadCheckpoint, taskOf, uploadWeights } from "../inputs/checkpoint_file.js";
import {
  columnsOption,
  namedTask,
  puzzleFile,
  readPuzzles,
  taskOption,
  type PuzzleFile,
} from "../inputs/puzzle_files.js";
import { wantsColor } from "../output/render.js";
import { adapterOptions, jsonOption } from "../options/common.js";
import { openAnnounced } from "../runs/open_device.js";
import { printJson, say, show } from "../output/console.js";
import { solveAll } from "./solve_all.js";
import { renderSolution } from "../output/solution.js";

const options = {
  ...checkpointOptions,
  data: {
    type: "string",
    help: "file, folder or address of puzzles, instead of one on the command line",
    placeholder: "path",
  },
  test: { type: "string", help: "the same as --data", placeholder: "path" },
  columns: columnsOption,
  all: {
    type: "bool",
    default: false,
    help: "solve every puzzle of --data and write the answers to --out, instead of showing one",
  },
  out: {
    type: "string",
    help: "with --all: file for the answers, .csv or .jsonl",
    placeholder: "file",
  },
  task: taskOption,
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

/** Runs `hrm solve`. Returns exit code 1 if the answer breaks a rule, or, without rules, differs from the label. */
export async function solveCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values, positionals } = parsed;
  const puzzles = puzzleFile(values);
  const { checkpoint } = await loadCheckpoint({ ...values, puzzles });
  const task = namedTask(taskOf(checkpoint), values.task);
  if (values.all || values.out !== undefined) {
    const weights = (device: Device) => uploadWeights(device, checkpoint, values.weights);
    return solveAll({ ...values, task, config: checkpoint.config, weights, puzzles, given: positionals[0] });
  }
  const { inputs, label, identifier } = await choosePuzzle(task, positionals[0], puzzles, values.number);
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
    const { nonFinite } = segments.at(-1)!;
    if (nonFinite > 0)
      say(
        `warning   ${nonFinite} of the last logits are NaNs or infinities: this answer means nothing; use weights from before training left the finite numbers`,
      );
    const judged = judge(task, inputs, answer, label);
    const solved = nonFinite === 0 && judged.solved;
    const stream = values.json ? process.stderr : process.stdout;
    show(renderSolution({ task, inputs, label, segments }, wantsColor(stream, process.env)), values);
    if (values.json) {
      printJson({
        solved,
        differsFromLabel: judged.differing,
        answer: task.format(answer),
        segments: segments.map((s) => ({ grid: task.format(s.prediction), qHalt: s.qHalt })),
        adapter: device.adapter.name,
      });
    }
    return solved === false ? 1 : 0;
  } finally {
    device.destroy();
  }
}

interface Chosen {
  readonly inputs: Int32Array;
  /** The right answer; null if it is not known. */
  readonly label: Int32Array | null;
  readonly identifier: number;
}

/** Returns the puzzle if an answer is possible. @throws ArgumentError that names the givens which contradict each other */
function requireSolvable(task: Task, inputs: Int32Array, what: string): Int32Array {
  const problem = task.problemOf?.(inputs) ?? null;
  if (problem === null) return inputs;
  throw new ArgumentError(`${what}: ${task.name}: the puzzle has no answer: it has ${problem}.`);
}

/** The puzzle on the command line, or puzzle number `--index` of a file. @throws ArgumentError */
export async function choosePuzzle(
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
      return { inputs: requireSolvable(task, task.parse(text), "<puzzle>"), label: null, identifier: 0 };
    } catch (error) {
      throw error instanceof PuzzleError ? new ArgumentError(`<puzzle>: ${error.message}`) : error;
    }
  }
  const { path, option, columns } = puzzles!;
  const { set } = await readPuzzles(path, option, { task, split: "test", columns, needsAnswers: false });
  if (number > set.count)
    throw new ArgumentError(
      `--number: got ${number}; expected at most ${set.count}, the puzzles of ${path}.`,
    );
  const { length } = set;
  return {
    inputs: requireSolvable(
      task,
      set.inputs.slice((number - 1) * length, number * length),
      `${option}: puzzle ${number} of ${path}`,
    ),
    label: set.labels.slice((number - 1) * length, number * length),
    identifier: set.identifiers[number - 1]!,
  };
}
