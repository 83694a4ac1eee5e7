/** `hrm solve`: one puzzle, the answer after each segment. */
import { createSolver } from "../../evaluate.js";
import { parseArguments, type Command } from "../arguments.js";
import { wantsColor } from "../render.js";
import {
  adapterOptions,
  jsonOption,
  loadCheckpoint,
  openAnnounced,
  presetOf,
  uploadWeights,
} from "../shared.js";
import { renderSolution } from "../solution.js";

const options = {
  checkpoint: { type: "string", help: "file that hrm train wrote", placeholder: "file" },
  weights: { type: "choice", choices: ["ema", "raw"], default: "ema", help: "moving average or raw weights" },
  segments: { type: "int", min: 1, max: 1000, help: "ACT segments", defaultText: "halt_max_steps" },
  ...adapterOptions,
  json: jsonOption,
} as const;

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
  const inputs = task.parse(positionals[0]!);
  const device = await openAnnounced(values.adapter);
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
  process.stdout.write(
    `${renderSolution(task, inputs, segments, wantsColor(process.stdout, process.env))}\n`,
  );
  if (values.json) {
    const report = {
      solved,
      answer: task.format(answer),
      segments: segments.map((s) => ({ grid: task.format(s.prediction), qHalt: s.qHalt })),
      adapter: device.adapter.name,
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
  }
  device.destroy();
  return solved ? 0 : 1;
}
