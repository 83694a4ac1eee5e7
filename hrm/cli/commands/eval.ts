/** `hrm eval`: scores of a checkpoint on the test puzzles of its task. */
import { createEvaluator } from "../../evaluate.js";
import { formatPercent, formatProportion } from "../../statistics.js";
import { parseArguments, type Command } from "../arguments.js";
import {
  adapterOptions,
  jsonOption,
  loadCheckpoint,
  openAnnounced,
  presetOf,
  say,
  uploadWeights,
} from "../shared.js";

const options = {
  checkpoint: { type: "string", help: "file that hrm train wrote", placeholder: "file" },
  weights: { type: "choice", choices: ["ema", "raw"], default: "ema", help: "moving average or raw weights" },
  segments: {
    type: "int",
    min: 1,
    max: 1000,
    help: "ACT segments per puzzle",
    defaultText: "halt_max_steps",
  },
  limit: { type: "int", min: 1, help: "puzzles to score", defaultText: "all" },
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

/** Runs `hrm eval`. */
export async function evalCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values } = parsed;
  const checkpoint = await loadCheckpoint(values.checkpoint);
  const preset = presetOf(checkpoint);
  const device = await openAnnounced(values.adapter);
  const evaluator = await createEvaluator({
    device,
    config: { ...checkpoint.config, batch_size: 64 },
    weights: uploadWeights(device, checkpoint, values.weights),
    data: preset.splits(values.seed ?? checkpoint.seed ?? 0).test,
    ...(values.segments !== undefined && { segments: values.segments }),
  });
  const scores = await evaluator.run(values.limit);
  say(
    `exact ${formatProportion(scores.exact, scores.count)} of ${scores.count}; cells ${formatPercent(scores.cellAccuracy)}; ` +
      `q_halt right ${formatPercent(scores.qHaltAccuracy)}; ${scores.meanSteps.toFixed(2)} segments`,
  );
  if (values.json) {
    const { count, exactAccuracy, cellAccuracy, qHaltAccuracy, meanSteps } = scores;
    process.stdout.write(
      `${JSON.stringify({ count, exactAccuracy, cellAccuracy, qHaltAccuracy, meanSteps, adapter: device.adapter.name })}\n`,
    );
  }
  device.destroy();
  return 0;
}
