/** `hrm import`: a model of the official PyTorch code as a checkpoint of ours, with its configuration. */
import { access, readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { encodeCheckpoint } from "../../files/checkpoints/checkpoint.js";
import { ArgumentError, parseArguments, type Command } from "../../terminal/arguments.js";
import { reasonOf, writeFileSafely } from "../disk/output.js";
import { loadCheckpoint } from "../inputs/checkpoint_file.js";
import { configBeside } from "../inputs/official_config.js";
import { jsonOption } from "../options/common.js";
import { invocation, printJson, say, show } from "../output/console.js";

const options = {
  official: {
    type: "string",
    help: "folder with step_N and all_config.yaml that the official code wrote, or one such step_N",
    placeholder: "dir",
  },
  out: { type: "string", help: "checkpoint to write, .safetensors", placeholder: "file" },
  data: {
    type: "string",
    help: "data set folder of the model, which tells how many cells a puzzle has",
    placeholder: "path",
    defaultText: "the folder data beside the checkpoint",
  },
  preset: {
    type: "string",
    help: "preset whose task the model solves, in place of --data",
    placeholder: "name",
  },
  overwrite: { type: "bool", default: false, help: "replace the file if it is there" },
  json: jsonOption,
} as const;

const command: Command<typeof options> = {
  name: "hrm import",
  summary:
    "Reads a checkpoint of the official PyTorch code with its all_config.yaml, and writes it as a checkpoint of hrm.",
  options,
};

/** Runs `hrm import`. */
export async function importCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { official, out, preset, overwrite, json } = parsed.values;
  if (official === undefined)
    throw new ArgumentError("--official: got nothing; expected a folder with step_N and all_config.yaml.");
  if (!out?.endsWith(".safetensors"))
    throw new ArgumentError(
      `--out: got ${out === undefined ? "nothing" : `"${out}"`}; expected a name that ends in .safetensors.`,
    );
  if (!overwrite && (await exists(out)))
    throw new ArgumentError(`--out: ${out} exists; give another name, or --overwrite.`);
  const path = await checkpointIn(official);
  const settings = await configBeside(path);
  if (settings === null)
    throw new ArgumentError(
      `--official: there is no all_config.yaml beside ${path}; expected the folder that the official code wrote.`,
    );
  const beside = join(dirname(path), "data");
  const data = parsed.values.data ?? (preset === undefined && (await exists(beside)) ? beside : undefined);
  const puzzles = data === undefined ? null : { path: data, option: "--data" };
  const choice = {
    checkpoint: path,
    option: "--official",
    config: undefined,
    weights: "ema",
    preset,
    puzzles,
  } as const;
  const { checkpoint, description } = await loadCheckpoint(choice);
  const step = Number(/(?:^|_)(\d+)(?:\.\w+)?$/.exec(basename(path))?.[1] ?? 0);
  await writeFileSafely(out, encodeCheckpoint({ ...checkpoint, step }));
  say(`weights   ${description}, step ${step}`);
  show(
    [
      `${out}: ${checkpoint.raw.size} tensors for ${checkpoint.task}`,
      "Score it, or train on with its settings:",
      `  ${invocation()} eval --checkpoint ${out}${data === undefined ? "" : ` --data ${data}`}`,
      `  ${invocation()} train --init ${out} --config ${settings}${data === undefined ? "" : ` --data ${data}`}`,
    ].join("\n"),
    { json },
  );
  if (json)
    printJson({
      checkpoint: out,
      task: checkpoint.task,
      step,
      config: settings,
      tensors: checkpoint.raw.size,
    });
  return 0;
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** The checkpoint of the latest step in a folder, or the file itself. @throws ArgumentError */
async function checkpointIn(path: string): Promise<string> {
  const cannot = (reason: string): ArgumentError =>
    new ArgumentError(
      `--official "${path}": ${reason}; expected a folder with step_N and all_config.yaml, or a file step_N.`,
    );
  const found = await stat(path).catch((error: unknown) => {
    throw cannot(`cannot be read (${reasonOf(error)})`);
  });
  if (!found.isDirectory()) return path;
  const steps = (await readdir(path)).flatMap((name) => {
    const step = /^step_(\d+)(?:\.(?:pt|pth|safetensors))?$/.exec(name)?.[1];
    return step === undefined ? [] : [{ name, step: Number(step) }];
  });
  const last = steps.sort((a, b) => b.step - a.step)[0];
  if (!last) throw cannot("it holds no step_N");
  return join(path, last.name);
}
