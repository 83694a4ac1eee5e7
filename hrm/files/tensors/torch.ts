/**
 * Files of `torch.save` since PyTorch 1.6: a zip archive with a pickle `<name>/data.pkl` that describes tensors, and a
 * raw file `<name>/data/<key>` for each storage that they are views of. The pickle is read by a machine that executes
 * nothing (pickle.ts), so that a file from a stranger is safe to open.
 */
import { formatNames, formatValue } from "../../format_value.js";
import { isZip, readZip, type ZipEntry } from "../archives/zip.js";
import { readPickle } from "./pickle.js";
import { SMALLEST_BUDGET } from "./pickle_machine.js";
import { entriesOf, isObject, kindOfValue, type PickleValue } from "./pickle_values.js";
import type { SafetensorsTensor } from "./safetensors.js";
import { storageReader, tensorReader } from "./torch_data.js";
import { torchProblem } from "./torch_problem.js";
import { GLOBALS, storageOf, TensorView } from "./torch_views.js";

/** True for bytes that begin as a file of `torch.save` does, in its new format or its old one. */
export function isTorch(bytes: Uint8Array): boolean {
  return isZip(bytes) || (bytes[0] === 0x80 && bytes[1] === 2);
}

/** A dict in a file that holds tensors. */
export interface TorchDict {
  /** Keys that lead to it from the root, such as `model`; empty for the root itself. */
  readonly path: readonly string[];
  /** True if its path says that it is a moving average of weights (`ema`, `model_ema`, `ema_helper`, `shadow`). */
  readonly average: boolean;
  /** Names of its tensors. */
  readonly names: readonly string[];
  /** Descriptions of its other values, by name: `an object of numpy.ndarray`, `a tensor of ComplexFloat`. */
  readonly others: ReadonlyMap<string, string>;
  /** Its tensors. Contiguous ones are views of the file's bytes; others are gathered. @throws FileFormatError */
  read(): ReadonlyMap<string, SafetensorsTensor>;
}

/** The content of a file of `torch.save`. */
export interface TorchFile {
  /** Every dict with tensors except optimizer states, with the most likely weights first. */
  readonly dicts: readonly TorchDict[];
  /** Keys of the outermost dict. */
  readonly keys: readonly string[];
  /** The kind of the outermost value, for messages: `a dict`. */
  readonly what: string;
}

/** Keys under which training scripts keep the weights, with the most specific first. */
const WEIGHT_KEYS = [
  "state_dict",
  "model_state_dict",
  "model",
  "module",
  "model_state",
  "net",
  "network",
  "weights",
];
const AVERAGE = /(^|[._-])(ema|swa|averaged?|shadow)([._-]|$)|^(ema|shadow)/i;
/** The greatest depth at which dicts with weights are searched. */
const MOST_DEPTH = 4;

/** True for a part of a name that says that what follows is a moving average of weights. */
export const namesAverage = (part: string): boolean => AVERAGE.test(part);

/** Advice how to make a file that can be read, for messages. */
export const SAVE_ANEW = "save the state dict anew: torch.save(model.state_dict(), path)";

/**
 * The tensors of a `torch.save` file, by name: a state dict, or a dict that holds one (`model`, `state_dict`,
 * `model_state_dict`); if the file holds only a moving average, the average. Contiguous tensors are views of the given bytes;
 * others are gathered. Values that are not tensors are left out.
 * @throws FileFormatError on any other file
 */
export function readTorch(bytes: Uint8Array): ReadonlyMap<string, SafetensorsTensor> {
  const file = readTorchFile(bytes);
  return requireDict(file, file.dicts.find((d) => !d.average) ?? file.dicts[0]).read();
}

/** Returns the dict that was found. @throws FileFormatError if no dict was found; it says what the file holds */
export function requireDict({ keys, what }: TorchFile, found: TorchDict | undefined): TorchDict {
  if (found) return found;
  throw torchProblem(
    what === "a dict"
      ? `its dict has no tensors; it has the keys ${formatNames(keys)}; expected a state dict; ${SAVE_ANEW}`
      : `it holds ${what}, no dict of tensors; expected a state dict; ${SAVE_ANEW}`,
  );
}

/** All dicts with tensors in a `torch.save` file. @throws FileFormatError on a file that breaks the format */
export function readTorchFile(bytes: Uint8Array): TorchFile {
  if (bytes[0] === 0x80 && bytes[1] === 2)
    throw torchProblem(
      "it is in the format of PyTorch before 1.6; load it there and save it anew with torch.save(state_dict, path)",
    );
  const entries = readZip(bytes);
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1)
    throw torchProblem(
      `the archive has ${pickles.length} entries <name>/data.pkl; expected one, as torch.save writes`,
    );
  const prefix = pickles[0]!.slice(0, -"data.pkl".length);
  requireLittleEndian(entries.get(`${prefix}byteorder`));
  const budget = Math.max(SMALLEST_BUDGET, 4 * bytes.length);
  const root = readPickle(entries.get(pickles[0]!)!.read(), {
    globals: GLOBALS,
    persistent: storageOf,
    budget,
  });
  const read = tensorReader(storageReader(entries, prefix), Math.max(SMALLEST_BUDGET, 8 * bytes.length));
  return {
    dicts: dictsWithTensors(root, read),
    keys: [...(entriesOf(root)?.keys() ?? [])].map(keyName),
    what: kindOfValue(root),
  };
}

const keyName = (key: PickleValue): string =>
  typeof key === "string" || typeof key === "number" ? String(key) : kindOfValue(key);

/** Finds dicts that hold tensors directly, breadth first. Each value is visited once, however often it occurs. */
function dictsWithTensors(
  root: PickleValue,
  read: (name: string, view: TensorView) => SafetensorsTensor,
): TorchDict[] {
  const found: TorchDict[] = [];
  const seen = new Set<unknown>();
  let level: { path: readonly string[]; value: PickleValue }[] = [{ path: [], value: root }];
  for (let depth = 0; depth <= MOST_DEPTH; depth++) {
    const next: typeof level = [];
    for (const { path, value } of level) {
      const entries = entriesOf(value);
      if (!entries || seen.has(entries)) continue;
      seen.add(entries);
      const views = new Map<string, TensorView>();
      const others = new Map<string, string>();
      for (const [key, item] of entries) {
        const name = keyName(key);
        if (!isObject(item)) others.set(name, kindOfValue(item));
        else if (!(item.value instanceof TensorView)) others.set(name, "a storage");
        else if (item.value.dtype === null) others.set(name, `a tensor of ${item.value.type}`);
        else views.set(name, item.value);
        if (entriesOf(item) && !/optim/i.test(name)) next.push({ path: [...path, name], value: item });
      }
      if (views.size === 0) continue;
      found.push({
        ...{ path, others, names: [...views.keys()], average: path.some(namesAverage) },
        read: () => new Map([...views].map(([name, tensor]) => [name, read(name, tensor)])),
      });
    }
    level = next;
  }
  const rank = ({ path }: TorchDict): number => {
    const key = WEIGHT_KEYS.indexOf(path.at(-1) ?? "");
    return (
      (key >= 0 ? key : path.length === 0 ? WEIGHT_KEYS.length : 2 * WEIGHT_KEYS.length) + path.length / 8
    );
  };
  return found.sort((a, b) => rank(a) - rank(b));
}

function requireLittleEndian(entry: ZipEntry | undefined): void {
  const order = entry && entry.size < 64 ? new TextDecoder().decode(entry.read()).trim() : "little";
  if (order !== "little")
    throw torchProblem(
      `its byte order is ${formatValue(order)}; expected "little": save it on a little-endian machine`,
    );
}
