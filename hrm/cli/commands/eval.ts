/** `hrm eval`: scores of a checkpoint on the test puzzles of its task. */
import { createEvaluator } from "../../evaluate.js";
import { formatPercent, formatProportion } from "../../statistics.js";
import { parseArguments, type Command } from "../arguments.js";
import {
  adapterOptions,
  checkpointOptions,
  jsonOption,
  loadCheckpoint,
  openAnnounced,
  presetOf,
  printJson,
  say,
  show,
  uploadWeights,
} from "../shared.js";

const options = {
  ...checkpointOptions,
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

/** Rows that run side by side. */
const BATCH = 64;

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
  const seed = values.seed ?? checkpoint.seed ?? 0;
  const device = await openAnnounced(values.adapter);
  try {
    say(`weights   step ${checkpoint.step} of a run on ${preset.name}`);
    say(
      seed === checkpoint.seed
        ? `data      test split of seed ${seed}, which the run left untouched`
        : `data      test split of seed ${seed}; the run's seed is ${checkpoint.seed ?? "unknown"}, so it may have been trained on some of these puzzles`,
    );
    const evaluator = await createEvaluator({
      device,
      config: { ...checkpoint.config, batch_size: BATCH },
      weights: uploadWeights(device, checkpoint, values.weights),
      data: preset.splits(seed).test,
      ...(values.segments !== undefined && { segments: values.segments }),
    });
    const scores = await evaluator.run(values.limit);
    show(
      `exact ${formatProportion(scores.exact, scores.count)} of ${scores.count} (95% interval); cells ${formatPercent(scores.cellAccuracy)}; ` +
        `q_halt right ${formatPercent(scores.qHaltAccuracy)}; ${scores.meanSteps.toFixed(2)} segments`,
      values,
    );
    if (values.json) {
      const { count, exactAccuracy, cellAccuracy, qHaltAccuracy, meanSteps } = scores;
      printJson({
        count,
        exactAccuracy,
        cellAccuracy,
        qHaltAccuracy,
        meanSteps,
        adapter: device.adapter.name,
      });
    }
    return 0;
  } finally {
    device.destroy();
  }
}
