/** `hrm convert`: PyTorch files to safetensors and back, bit for bit. */
import { basename, extname } from "node:path";
import { FileFormatError } from "../../files/file_format_error.js";
import { readSafetensors, writeSafetensors, type SafetensorsTensor } from "../../files/safetensors.js";
import { isTorch, readTorch, writeTorch } from "../../files/torch.js";
import { decodeCheckpoint } from "../../checkpoint.js";
import { isOurs, OFFICIAL_PREFIX } from "../../official.js";
import { ArgumentError, parseArguments, type Command } from "../arguments.js";
import { readInput } from "../read_input.js";
import { writeFileSafely } from "../run_folder.js";
import { jsonOption, printJson, show } from "../shared.js";

const options = {
  weights: {
    type: "choice",
    choices: ["raw", "ema"],
    default: "raw",
    help: "which weights of a checkpoint that hrm train wrote go into a PyTorch file",
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
  let tensors: ReadonlyMap<string, SafetensorsTensor>;
  try {
    tensors = readAny(bytes, values.weights);
  } catch (error) {
    if (!(error instanceof FileFormatError)) throw error;
    throw new ArgumentError(`<input> "${from}": ${error.message}`);
  }
  const torch = suffix !== ".safetensors";
  await writeFileSafely(
    to,
    torch
      ? writeTorch(tensors, { archive: basename(to, suffix) || "archive" })
      : writeSafetensors(tensors, { format: "pt" }),
  );
  show(`${to}: ${tensors.size} tensors, ${torch ? "PyTorch" : "safetensors"}`, values);
  if (values.json) printJson({ path: to, format: torch ? "torch" : "safetensors", tensors: tensors.size });
  return 0;
}

/** A checkpoint of ours gives its weights under the names that the official code loads; other files what they hold. */
function readAny(bytes: Uint8Array, which: "raw" | "ema"): ReadonlyMap<string, SafetensorsTensor> {
  if (isTorch(bytes)) return readTorch(bytes);
  if (!isOurs(bytes)) return readSafetensors(bytes).tensors;
  const { raw, ema } = decodeCheckpoint(bytes);
  if (which === "ema" && !ema)
    throw new FileFormatError("checkpoint", "it keeps no moving average; convert it with --weights raw");
  return new Map(
    [...((which === "ema" && ema) || raw)].map(([name, { shape, data }]) => [
      OFFICIAL_PREFIX + name,
      { dtype: "F32", shape, data: data as Float32Array },
    ]),
  );
}
