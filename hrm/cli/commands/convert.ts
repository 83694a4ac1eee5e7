/** `hrm convert`: converts PyTorch files to safetensors and back, bit for bit. */
import { basename, extname } from "node:path";
import { FileFormatError } from "../../files/file_format_error.js";
import { writeSafetensors, type SafetensorsTensor } from "../../files/tensors/safetensors.js";
import { isStorable, writeTorch } from "../../files/tensors/torch_writer.js";
import { defaultConfig } from "../../model/config.js";
import { decodeCheckpoint } from "../../files/checkpoints/checkpoint.js";
import { storedWeights, type StoredWeights } from "../../files/checkpoints/found_weights.js";
import { isOurs, OFFICIAL_PREFIX } from "../../files/checkpoints/official.js";
import type { StateDict } from "../../model/parameters.js";
import { formatText } from "../../format_value.js";
import { ArgumentError, parseArguments, type Command } from "../../terminal/arguments.js";
import { readInput } from "../inputs/read_input.js";
import { writeFileSafely } from "../disk/output.js";
import { jsonOption } from "../options/common.js";
import { printJson, say, show } from "../output/console.js";

const options = {
  weights: {
    type: "choice",
    choices: ["raw", "ema"],
    help: "which weights to write: the raw ones or their moving average",
    defaultText: "the raw ones; in safetensors the moving average beside them, under ema.",
  },
  json: jsonOption,
} as const;

const command: Command<typeof options> = {
  name: "hrm convert",
  summary:
    "Converts between PyTorch files (.pth, .pt, .bin or no suffix) and safetensors; tensors keep their names, types and bits.",
  options,
  positionals: [
    {
      name: "input",
      help: "file or address to read: torch.save's zip format, or safetensors",
      required: true,
    },
    {
      name: "output",
      help: "file to write; a name ending in .safetensors decides the format",
      required: true,
    },
  ],
};

/** Runs `hrm convert`. */
export async function convertCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values } = parsed;
  const [from, to] = parsed.positionals as readonly [string, string];
  const suffix = extname(to);
  if (![".safetensors", ".pth", ".pt", ".bin", ""].includes(suffix))
    throw new ArgumentError(
      `<output>: got "${to}"; expected a name that ends in .safetensors, .pth, .pt or .bin.`,
    );
  const bytes = await readInput(
    from,
    (reason) => new ArgumentError(`<input> "${from}" cannot be read (${reason}).`),
  );
  const torch = suffix !== ".safetensors";
  let chosen: Chosen;
  try {
    chosen = choose(bytes, values.weights, !torch);
  } catch (error) {
    if (!(error instanceof FileFormatError)) throw error;
    throw new ArgumentError(`<input> "${from}": ${error.message}`);
  }
  const { tensors, average, dropped } = chosen;
  const written = torch ? withoutUnstorable(tensors, dropped) : tensors;
  for (const what of dropped.slice(0, MOST_LINES)) say(`left out  ${what}`);
  if (dropped.length > MOST_LINES) say(`left out  ${dropped.length - MOST_LINES} more`);
  await writeFileSafely(
    to,
    torch
      ? writeTorch(written, { archive: basename(to, suffix) || "archive" })
      : writeSafetensors(written, { format: "pt" }),
  );
  show(
    `${to}: ${written.size} tensors, ${torch ? "PyTorch" : "safetensors"}${average ? `, the moving average under ${AVERAGE_PREFIX}` : ""}`,
    values,
  );
  if (values.json)
    printJson({
      path: to,
      format: torch ? "torch" : "safetensors",
      tensors: written.size,
      ...(dropped.length > 0 && { leftOut: dropped }),
    });
  return 0;
}

/** The most lines about values that were left out. */
const MOST_LINES = 20;
/** Prefix of the moving average if it is written beside the raw weights. */
const AVERAGE_PREFIX = "ema.";

/** The tensors to write, and the names of the input that are left out. */
interface Chosen {
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
  /** Whether the moving average is written beside the raw weights. */
  readonly average: boolean;
  readonly dropped: string[];
}

/** The weights that were asked for. By default these are the raw weights, with the moving average beside them if `both` is possible. */
function choose(bytes: Uint8Array, which: "raw" | "ema" | undefined, both: boolean): Chosen {
  const { raw, average, unused } = isOurs(bytes) ? ourWeights(bytes) : storedWeights(bytes);
  const dropped = unused.map((name) => formatText(name, 120));
  if (which === "ema" && !average)
    throw new FileFormatError("checkpoint", "it keeps no moving average; convert it with --weights raw");
  if (which === "raw" && !raw)
    throw new FileFormatError(
      "checkpoint",
      "it holds the moving average of weights alone; convert it with --weights ema",
    );
  if (which === "ema" || !raw) {
    if (!raw) say("weights   the input holds the moving average (EMA) of weights alone, which is written");
    if (raw && raw !== average) dropped.push("the raw weights (--weights raw writes them)");
    return { tensors: average!, average: false, dropped };
  }
  // One dict may hold raw weights and average under different names.
  const names = new Set(average?.keys());
  const within = average !== null && [...names].every((name) => raw.get(name) === average.get(name));
  if (!average || within) return { tensors: raw, average: false, dropped };
  if (which === "raw" || !both) {
    dropped.push("the moving average (--weights ema writes it)");
    return { tensors: raw, average: false, dropped };
  }
  const beside = [...average].map(([name, tensor]) => [AVERAGE_PREFIX + name, tensor] as const);
  return { tensors: new Map([...raw, ...beside]), average: true, dropped };
}

/** The weights of one of our checkpoints, under the names that the official code loads. */
function ourWeights(bytes: Uint8Array): StoredWeights {
  const { config, raw, ema, run } = decodeCheckpoint(bytes);
  const named = (state: StateDict): ReadonlyMap<string, SafetensorsTensor> =>
    new Map(
      [...state].map(([name, { shape, data }]) => [
        OFFICIAL_PREFIX + name,
        { dtype: "F32", shape, data: data as Float32Array },
      ]),
    );
  const ours = (Object.keys(OUR_FIELDS) as (keyof typeof OUR_FIELDS)[]).filter(
    (field) => config[field] !== OUR_FIELDS[field],
  );
  return {
    raw: named(raw),
    average: ema && named(ema),
    unused: [
      "the configuration, task, step and seed (docs/checkpoints.md says how to give them again)",
      ...(config.arch === "l_only" || config.arch === "transformer"
        ? [`the arch ${config.arch}, which the official code does not have`]
        : []),
      ...ours.map(
        (field) => `the field ${field} ${String(config[field])}, which the official code does not have`,
      ),
      ...(run ? ["the state of the run: moments, carry, metrics, best weights"] : []),
    ],
  };
}

/** Fields that official models do not have, with the values that give the official behaviour. */
const OUR_FIELDS = {
  ...{ halt_only: false, carry_latents: true, swiglu_multiple: defaultConfig.swiglu_multiple },
} as const;

/** Leaves out tensors of types that PyTorch has no storage class for, and adds their names to `dropped`. */
function withoutUnstorable(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  dropped: string[],
): ReadonlyMap<string, SafetensorsTensor> {
  return new Map(
    [...tensors].filter(([name, { dtype }]) => {
      if (isStorable(dtype)) return true;
      dropped.push(`${formatText(name)} (${dtype}, which has no storage class in PyTorch's format)`);
      return false;
    }),
  );
}
