/** `hrm train`: data, training with progress, one look at the test set, a checkpoint and a solved puzzle. */
import { join } from "node:path";
import type { Device } from "../../../engine/index.js";
import { encodeCheckpoint } from "../../checkpoint.js";
import { createSolver } from "../../evaluate.js";
import { countParameters, readWeights } from "../../parameters.js";
import { presetNames, SUDOKU4_NOTE, type Preset } from "../../presets.js";
import { createSession, type Session } from "../../session.js";
import { formatPercent, formatProportion, wilsonInterval } from "../../statistics.js";
import { parseArguments, type Command } from "../arguments.js";
import { configure, fieldOptions } from "../configure.js";
import { follow } from "../follow.js";
import { watchInterrupt } from "../interrupt.js";
import { formatDuration, wantsColor } from "../render.js";
import { createRunFolder, writeFileSafely } from "../run_folder.js";
import { adapterOptions, jsonOption, openAnnounced, printJson, requirePreset, say } from "../shared.js";
import { renderSolution } from "../solution.js";

const defaultText = "the preset's";

const command: Command = {
  name: "hrm train",
  summary:
    "Trains a Hierarchical Reasoning Model on the GPU until it solves held-out puzzles, then tests and saves it.",
  options: {
    preset: {
      type: "string",
      default: "sudoku4",
      help: `what to train: ${presetNames.join(", ")}`,
      placeholder: "name",
    },
    seed: { type: "int", default: 0, min: 0, max: 2 ** 32 - 1, help: "decides data, weights and draws" },
    steps: { type: "int", min: 1, help: "planned optimizer steps; the schedule ends there", defaultText },
    "stop-at": {
      type: "float",
      min: 0,
      max: 1,
      help: "target: validation exact accuracy that ends training",
      defaultText,
    },
    batch: { type: "int", min: 1, help: "puzzles in a batch", defaultText },
    lr: { type: "float", help: "peak learning rate", defaultText },
    out: {
      type: "string",
      default: "runs",
      help: "folder in which the run gets a folder of its own",
      placeholder: "dir",
    },
    "eval-every": { type: "int", min: 1, help: "steps between looks at the validation set", defaultText },
    "eval-limit": { type: "int", min: 1, help: "validation puzzles per look", defaultText },
    config: {
      type: "string",
      help: "JSON file with config fields; options win over it",
      placeholder: "file",
    },
    ...adapterOptions,
    json: jsonOption,
    ...fieldOptions,
  },
};

/** Runs `hrm train`. Exit code 1 where the target was missed, 130 after Ctrl-C. */
export async function trainCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const values = parsed.values as Record<string, string | number | boolean | undefined>;
  const preset = await configure(requirePreset(values["preset"] as string), values);
  const seed = values["seed"] as number;
  const device = await openAnnounced(values["adapter"] as string | undefined);
  try {
    const parent = values["out"] as string;
    const name = `${preset.name}-seed${seed}`;
    const { folder, taken } = await createRunFolder(parent, name);
    say(`preset    ${preset.name}: ${preset.summary}`);
    for (const departure of preset.departures)
      say(`          departs from the official recipe: ${departure}`);
    if (preset.task.name === "sudoku4") say(`          ${SUDOKU4_NOTE}`);
    if (taken)
      say(`run       ${join(parent, name)} exists and stays as it is; this run goes to the next free name`);
    say(`run       ${folder}`);
    return await train({ device, preset, seed, folder, json: values["json"] as boolean });
  } finally {
    device.destroy();
  }
}

interface Run {
  readonly device: Device;
  readonly preset: Preset;
  readonly seed: number;
  readonly folder: string;
  readonly json: boolean;
}

async function train({ device, preset, seed, folder, json }: Run): Promise<number> {
  const interruption = watchInterrupt(() =>
    say("\nstopping  after the steps under way; Ctrl-C again ends at once and saves nothing"),
  );
  let session: Session | undefined;
  try {
    await writeFileSafely(
      join(folder, "config.json"),
      `${JSON.stringify({ preset: preset.name, seed, adapter: device.adapter.name, model: preset.model, train: preset.train }, null, 2)}\n`,
    );
    session = await createSession({ device, preset, seed });
    const { train, validation, test } = session.splits;
    say(
      `data      ${train.count} training, ${validation.count} validation, ${test.count} test puzzles; no solution grid in two of them`,
    );
    const ending = await follow(session, preset, interruption, process.stderr);
    const checkpoint = await save(session, preset, seed, folder);
    const seconds = performance.now() / 1000;
    say(`saved     ${checkpoint} after ${formatDuration(seconds)}`);
    const report = {
      steps: session.trainer.step,
      seconds,
      exactAccuracy: null as number | null,
      exactInterval: null as readonly [number, number] | null,
      cellAccuracy: null as number | null,
      meanSteps: null as number | null,
      paramCount: countParameters(preset.model),
      adapter: device.adapter.name,
      checkpoint,
    };
    if (ending === "interrupted") {
      say(
        `stopped   at step ${report.steps} of ${preset.train.total_steps}; the test set was not looked at. ` +
          `Score what was saved with: npm run hrm -- eval --checkpoint ${checkpoint}`,
      );
      if (json) printJson(report);
      return interruption.exitCode;
    }
    const scores = await session.test();
    const { low, high } = wilsonInterval(scores.exact, scores.count);
    say(
      `test      exact ${formatProportion(scores.exact, scores.count)} of ${scores.count} untouched puzzles (95% interval); cells ${formatPercent(scores.cellAccuracy)}`,
    );
    await showSolution(session, preset, device);
    if (json)
      printJson({
        ...report,
        exactAccuracy: scores.exactAccuracy,
        exactInterval: [low, high],
        cellAccuracy: scores.cellAccuracy,
        meanSteps: scores.meanSteps,
      });
    return ending === "reached" ? 0 : 1;
  } finally {
    interruption.dispose();
    session?.destroy();
  }
}

/** Writes the checkpoint; returns its path. */
async function save(session: Session, preset: Preset, seed: number, folder: string): Promise<string> {
  const path = join(folder, "checkpoint.safetensors");
  const { memory, step } = session.trainer;
  const raw = await readWeights(memory.weights);
  const ema = memory.ema && (await readWeights(memory.ema));
  await writeFileSafely(
    path,
    encodeCheckpoint({ config: preset.model, task: preset.name, step, seed, raw, ema }),
  );
  return path;
}

/** Solves the first test puzzle on screen. */
async function showSolution(session: Session, preset: Preset, device: Device): Promise<void> {
  const { test } = session.splits;
  const inputs = test.inputs.slice(0, test.length);
  const solver = await createSolver({ device, config: preset.model, weights: session.weights });
  const segments = await solver.solve(inputs);
  solver.destroy();
  say("\nA test puzzle, and the answer after each ACT segment:\n");
  say(renderSolution(preset.task, inputs, segments, wantsColor(process.stderr, process.env)));
}
