/** `hrm train`: data, training with progress, one look at the test set, a checkpoint and a solved puzzle. */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { encodeCheckpoint } from "../../checkpoint.js";
import {
  ConfigError,
  defaultConfig,
  defaultTrainConfig,
  isModelField,
  isTrainField,
  modelConfig,
  trainConfig,
} from "../../config.js";
import { createSolver } from "../../evaluate.js";
import { countParameters, readWeights } from "../../parameters.js";
import { presetNames, SUDOKU4_NOTE, type Preset } from "../../presets.js";
import { createSession, type Session } from "../../session.js";
import { formatPercent, formatProportion, wilsonInterval } from "../../statistics.js";
import { ArgumentError, parseArguments, type Command, type Option } from "../arguments.js";
import { formatDuration, progressLine, wantsColor } from "../render.js";
import { adapterOptions, jsonOption, openAnnounced, requirePreset, say } from "../shared.js";
import { renderSolution } from "../solution.js";

/** Options for configuration fields that have no shorter name, under their config names. */
function configOptions(): Record<string, Option> {
  const renamed = ["batch_size", "seq_len", "vocab_size", "total_steps", "lr"];
  const fields = Object.entries({ ...defaultConfig, ...defaultTrainConfig }).filter(
    ([name]) => !renamed.includes(name),
  );
  return Object.fromEntries(
    fields.map(([name, value]): [string, Option] => {
      const common = { help: "config field", defaultText: "the preset's" };
      return [
        name,
        typeof value === "number"
          ? { type: "float", ...common }
          : typeof value === "boolean"
            ? { type: "bool", ...common }
            : { type: "string", ...common },
      ];
    }),
  );
}

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
    steps: {
      type: "int",
      min: 1,
      help: "planned optimizer steps; the schedule ends there",
      defaultText: "the preset's",
    },
    "stop-at": {
      type: "float",
      min: 0,
      max: 1,
      help: "validation exact accuracy that ends training",
      defaultText: "the preset's",
    },
    batch: { type: "int", min: 1, help: "puzzles in a batch", defaultText: "the preset's" },
    lr: { type: "float", help: "peak learning rate", defaultText: "the preset's" },
    out: {
      type: "string",
      default: "runs",
      help: "folder in which the run gets a folder of its own",
      placeholder: "dir",
    },
    "eval-every": {
      type: "int",
      min: 1,
      help: "steps between looks at the validation set",
      defaultText: "the preset's",
    },
    "eval-limit": { type: "int", min: 1, help: "validation puzzles per look", defaultText: "the preset's" },
    config: {
      type: "string",
      help: "JSON file with config fields; options win over it",
      placeholder: "file",
    },
    ...adapterOptions,
    json: jsonOption,
    ...configOptions(),
  },
};

/** Share of the test puzzles that a run must get wholly right to be called learned. */
const TARGET = 0.95;

/** Runs `hrm train`. Exit code 1 where the target was missed. */
export async function trainCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const values = parsed.values as Record<string, string | number | boolean | undefined>;
  const preset = await configured(requirePreset(values["preset"] as string), values);
  const seed = values["seed"] as number;
  const device = await openAnnounced(values["adapter"] as string | undefined);
  const run = await newRunFolder(values["out"] as string, `${preset.name}-seed${seed}`);
  say(`preset    ${preset.name}: ${preset.summary}`);
  for (const departure of preset.departures) say(`          departs from the official recipe: ${departure}`);
  if (preset.task.name === "sudoku4") say(`          ${SUDOKU4_NOTE}`);
  say(`run       ${run}`);

  const session = await createSession({ device, preset, seed });
  const { train, validation, test } = session.splits;
  say(
    `data      ${train.count} training, ${validation.count} validation, ${test.count} test puzzles; no solution grid in two of them`,
  );
  const interrupted = await follow(session, preset);

  const checkpoint = join(run, "checkpoint.safetensors");
  const { memory } = session.trainer;
  const raw = await readWeights(memory.weights);
  const ema = memory.ema && (await readWeights(memory.ema));
  await writeAtomically(
    checkpoint,
    encodeCheckpoint({ config: preset.model, task: preset.name, step: session.trainer.step, seed, raw, ema }),
  );
  await writeAtomically(
    join(run, "config.json"),
    new TextEncoder().encode(
      `${JSON.stringify({ preset: preset.name, seed, adapter: device.adapter.name, model: preset.model, train: preset.train }, null, 2)}\n`,
    ),
  );
  const seconds = performance.now() / 1000;
  say(`saved     ${checkpoint} after ${formatDuration(seconds)}`);
  if (interrupted) {
    say(
      `stopped   at step ${session.trainer.step} by Ctrl-C; the weights are saved. Score them with: npm run hrm -- eval --checkpoint ${checkpoint}`,
    );
    device.destroy();
    return 130;
  }

  const scores = await session.test();
  const interval = wilsonInterval(scores.exact, scores.count);
  const reached = scores.exactAccuracy >= TARGET;
  say(
    `test      exact ${formatProportion(scores.exact, scores.count)} of ${scores.count} untouched puzzles (95% interval); cells ${formatPercent(scores.cellAccuracy)}`,
  );
  await showSolution(session, preset, device);
  if (!reached)
    say(
      `missed    the target of ${formatPercent(TARGET)} exact on the test set; more --steps or another --seed may reach it`,
    );
  if (values["json"]) {
    const report = {
      steps: session.trainer.step,
      seconds,
      exactAccuracy: scores.exactAccuracy,
      exactInterval: [interval.low, interval.high],
      cellAccuracy: scores.cellAccuracy,
      meanSteps: scores.meanSteps,
      paramCount: countParameters(preset.model),
      adapter: device.adapter.name,
      checkpoint,
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
  }
  session.destroy();
  device.destroy();
  return reached ? 0 : 1;
}

/** The preset with everything that the command line and the config file change. */
async function configured(preset: Preset, values: Readonly<Record<string, unknown>>): Promise<Preset> {
  const given: Record<string, unknown> = {};
  if (typeof values["config"] === "string") {
    try {
      Object.assign(given, JSON.parse(await readFile(values["config"], "utf8")));
    } catch (error) {
      throw new ArgumentError(`--config: cannot use "${values["config"]}": ${(error as Error).message}`);
    }
  }
  for (const [name, value] of Object.entries(values))
    if (value !== undefined && (isModelField(name) || isTrainField(name))) given[name] = value;
  for (const [option, field] of [
    ["batch", "batch_size"],
    ["lr", "lr"],
    ["steps", "total_steps"],
  ] as const) {
    if (values[option] !== undefined) given[field] = values[option];
  }
  for (const [name, value] of Object.entries(given)) {
    if (!isModelField(name) && !isTrainField(name))
      throw new ConfigError(name, value, "a field of the model or training configuration");
    if ((name === "seq_len" || name === "vocab_size") && value !== preset.model[name]) {
      throw new ConfigError(name, value, `${preset.model[name]}, which the task ${preset.task.name} fixes`);
    }
  }
  const pick = (test: (field: string) => boolean): Record<string, unknown> =>
    Object.fromEntries(Object.entries(given).filter(([name]) => test(name)));
  return {
    ...preset,
    model: modelConfig({ ...preset.model, ...pick(isModelField) }),
    train: trainConfig({ ...preset.train, ...pick(isTrainField) }),
    stopAt: (values["stop-at"] as number | undefined) ?? preset.stopAt,
    evalEvery: (values["eval-every"] as number | undefined) ?? preset.evalEvery,
    evalLimit: (values["eval-limit"] as number | undefined) ?? preset.evalLimit,
  };
}

/** Shows progress until the session ends; true if Ctrl-C ended it. */
async function follow(session: Session, preset: Preset): Promise<boolean> {
  const line = progressLine({ stream: process.stderr, everySeconds: 10 });
  let interrupted = false;
  const interrupt = (): void => {
    interrupted = true;
  };
  process.once("SIGINT", interrupt);
  const started = performance.now();
  let validated = "validation -";
  try {
    for await (const event of session.events()) {
      if (event.kind === "steps") {
        const rate = event.step / ((performance.now() - started) / 1000);
        const { loss, actSteps } = event.training;
        const act = Number.isNaN(actSteps) ? "-" : actSteps.toFixed(2);
        const left = formatDuration((event.totalSteps - event.step) / rate);
        line.update(
          `step ${event.step}/${event.totalSteps}  loss ${loss.toFixed(3)}  ACT ${act}  ${validated}  ${rate.toFixed(1)} steps/s  at most ${left} left`,
        );
      } else if (event.kind === "validation") {
        validated = `validation cells ${formatPercent(event.scores.cellAccuracy)} exact ${formatPercent(event.scores.exactAccuracy)}`;
        line.note(`step ${event.step}: ${validated} (${event.scores.count} puzzles)`);
      } else {
        line.end();
        say(
          event.reached
            ? `target    ${formatPercent(preset.stopAt)} exact on validation reached at step ${event.step}`
            : `plan      ended at step ${event.step}`,
        );
      }
      if (interrupted) break;
    }
  } finally {
    line.end();
    process.removeListener("SIGINT", interrupt);
  }
  return interrupted;
}

/** Solves the first test puzzle on screen. */
async function showSolution(
  session: Session,
  preset: Preset,
  device: Parameters<typeof createSolver>[0]["device"],
): Promise<void> {
  const { test } = session.splits;
  const inputs = test.inputs.slice(0, test.length);
  const solver = await createSolver({ device, config: preset.model, weights: session.weights });
  const segments = await solver.solve(inputs);
  solver.destroy();
  say("\nA test puzzle, and the answer after each ACT segment:\n");
  say(renderSolution(preset.task, inputs, segments, wantsColor(process.stderr, process.env)));
}

/** A folder that did not exist: the name, or the name with the next free number. */
async function newRunFolder(parent: string, name: string): Promise<string> {
  for (let i = 1; ; i++) {
    const folder = join(parent, i === 1 ? name : `${name}-${i}`);
    if (existsSync(folder)) continue;
    await mkdir(folder, { recursive: true });
    if (i > 1)
      say(`run       ${join(parent, name)} exists and stays as it is; this run goes to the next free name`);
    return folder;
  }
}

/** A reader sees the old file or the whole new one. */
async function writeAtomically(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.partial`, bytes, { flush: true });
  await rename(`${path}.partial`, path);
}
