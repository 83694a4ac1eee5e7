/**
 * Files of `torch.save` since PyTorch 1.6: a zip archive with a pickle `<name>/data.pkl` that describes tensors, and a
 * raw file `<name>/data/<key>` for each storage that they are views of. The pickle is read by a machine that executes
 * nothing (pickle.ts), so that a file from a stranger is safe to open.
 *
 * The file is longer than 400 lines because reading and writing share the tables of storages and element types.
 */
import { UsageError } from "../../../engine/errors.js";
import { formatValue, formatNames } from "../../format_value.js";
import { FileFormatError, type FileFormatPlace } from "../file_format_error.js";
import {
  entriesOf,
  isGlobal,
  isObject,
  isTuple,
  kindOfValue,
  readPickle,
  SMALLEST_BUDGET,
  type PickleFunction,
  type PickleValue,
} from "./pickle.js";
import { DTYPE_BYTES, tensorOf, type SafetensorsDtype, type SafetensorsTensor } from "./safetensors.js";
import { isZip, readZip, writeZip, type ZipEntry } from "../archives/zip.js";

const FORMAT = "torch";

/** Element type of each storage class that is supported. */
const STORAGES: Readonly<Record<string, SafetensorsDtype>> = {
  "torch FloatStorage": "F32",
  "torch DoubleStorage": "F64",
  "torch HalfStorage": "F16",
  "torch BFloat16Storage": "BF16",
  "torch LongStorage": "I64",
  "torch IntStorage": "I32",
  "torch ShortStorage": "I16",
  "torch CharStorage": "I8",
  "torch ByteStorage": "U8",
  "torch BoolStorage": "BOOL",
};

/** Element types of untyped storages (`_rebuild_tensor_v3`), by PyTorch's name. */
const DTYPES: Readonly<Record<string, SafetensorsDtype>> = {
  ...{ "torch float32": "F32", "torch float64": "F64", "torch float16": "F16", "torch bfloat16": "BF16" },
  ...{ "torch float8_e4m3fn": "F8_E4M3", "torch float8_e5m2": "F8_E5M2", "torch bool": "BOOL" },
  ...{ "torch int64": "I64", "torch int32": "I32", "torch int16": "I16", "torch int8": "I8" },
  ...{ "torch uint64": "U64", "torch uint32": "U32", "torch uint16": "U16", "torch uint8": "U8" },
};

/** A storage as the pickle describes it. */
class Storage {
  constructor(
    readonly key: string,
    /** Its storage class, `torch FloatStorage`. */
    readonly type: string,
    /** Number of elements; number of bytes in an untyped storage. */
    readonly count: number,
  ) {}
}

/** A view of a storage: element (i, j, ...) is at offset + i stride[0] + j stride[1] + ... */
class TensorView {
  constructor(
    readonly storage: Storage,
    /** Null for an element type that safetensors does not have. */
    readonly dtype: SafetensorsDtype | null,
    /** PyTorch's name of the element type. */
    readonly type: string,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly stride: readonly number[],
  ) {}
}

/** The most dimensions, more than a tensor of PyTorch can have. */
const MOST_DIMENSIONS = 64;

const dict: PickleFunction = ([pairs], pay) => {
  const entries = new Map<PickleValue, PickleValue>();
  if (Array.isArray(pairs)) {
    pay(64 * pairs.length);
    for (const pair of pairs) {
      const items = Array.isArray(pair) ? pair : isTuple(pair) ? pair.items : [];
      entries.set(items[0] ?? null, items[1] ?? null);
    }
  }
  return { kind: "dict", entries };
};

const view: PickleFunction = ([storage, offset, shape, stride, , , dtype], pay) => {
  if (!isObject(storage) || !(storage.value instanceof Storage))
    throw new Error("no storage where one belongs");
  const { type } = storage.value;
  const named = isGlobal(dtype) ? dtype.name : type;
  pay(1000);
  return {
    kind: "object",
    value: new TensorView(
      storage.value,
      (isGlobal(dtype) ? DTYPES[named] : STORAGES[type]) ?? null,
      named.replace("torch ", "").replace("Storage", ""),
      size(offset, "storage offset"),
      sizes(shape, "shape"),
      sizes(stride, "stride"),
    ),
  };
};

const first: PickleFunction = ([data]) => data ?? null;

/** Functions that make a tensor from its parts or from another tensor. */
const REBUILDERS = new Map<string, NonNullable<PickleFunction>>([
  ["torch._utils _rebuild_tensor", view],
  ["torch._utils _rebuild_tensor_v2", view],
  ["torch._utils _rebuild_tensor_v3", view],
  ["torch._utils _rebuild_parameter", first],
  ["torch._utils _rebuild_parameter_with_state", first],
  ["torch._utils _rebuild_device_tensor_from_cpu_tensor", first],
]);

/** A tensor of a subclass, or with attributes: (function, class, its arguments, state). */
const fromType: PickleFunction = ([make, , args], pay) => {
  const rebuild = isGlobal(make) ? REBUILDERS.get(make.name) : undefined;
  if (!rebuild || !isTuple(args))
    return { kind: "opaque", name: isGlobal(make) ? make.name : "torch Tensor", entries: null, state: null };
  return rebuild(args.items, pay);
};

/** Names that have an effect here. Results of all other names stay opaque. */
const GLOBALS: ReadonlyMap<string, PickleFunction> = new Map<string, PickleFunction>([
  ["collections OrderedDict", dict],
  ["torch Size", first],
  ...REBUILDERS,
  ["torch._tensor _rebuild_from_type", fromType],
  ["torch._tensor _rebuild_from_type_v2", fromType],
]);

function size(value: PickleValue | undefined, what: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw new Error(`a ${what} that is not an integer of at least 0`);
  return value as number;
}

function sizes(value: PickleValue | undefined, what: string): readonly number[] {
  const items = isTuple(value) ? value.items : Array.isArray(value) ? value : null;
  if (!items) throw new Error(`a ${what} that is no tuple`);
  if (items.length > MOST_DIMENSIONS)
    throw new Error(`a ${what} of ${items.length} dimensions; expected at most ${MOST_DIMENSIONS}`);
  return items.map((item) => size(item, what));
}

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
  throw problem(
    what === "a dict"
      ? `its dict has no tensors; it has the keys ${formatNames(keys)}; expected a state dict; ${SAVE_ANEW}`
      : `it holds ${what}, no dict of tensors; expected a state dict; ${SAVE_ANEW}`,
  );
}

/** All dicts with tensors in a `torch.save` file. @throws FileFormatError on a file that breaks the format */
export function readTorchFile(bytes: Uint8Array): TorchFile {
  if (bytes[0] === 0x80 && bytes[1] === 2)
    throw problem(
      "it is in the format of PyTorch before 1.6; load it there and save it anew with torch.save(state_dict, path)",
    );
  const entries = readZip(bytes);
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1)
    throw problem(
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

/** Persistent ids are ("storage", class, key, location, elements). The location is ignored. */
function storageOf(id: PickleValue): PickleValue {
  const [kind, type, key, , count] = isTuple(id) ? id.items : [];
  if (kind !== "storage" || !isGlobal(type) || typeof key !== "string" || key.length > 100)
    throw new Error('expected ("storage", class, key, location, elements)');
  if (!/Storage$/.test(type.name)) throw new Error(`${formatValue(type.name)} is no storage class`);
  return { kind: "object", value: new Storage(key, type.name, size(count, "number of elements")) };
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

/**
 * Reads tensors until all of them together have `budget` bytes: a malicious file could
 * otherwise ask for huge views that repeat a storage, or for huge copies.
 */
function tensorReader(
  storages: (view: TensorView, tensor: string) => Uint8Array,
  budget: number,
): (name: string, view: TensorView) => SafetensorsTensor {
  let left = budget;
  return (name, tensor) => {
    requireInside(name, tensor);
    const dtype = tensor.dtype!;
    const width = DTYPE_BYTES[dtype];
    const count = elements(tensor.shape);
    if ((left -= count * width) < 0)
      throw problem(
        `its shape ${formatValue(tensor.shape)} asks for far more memory than the file has bytes`,
        {
          tensor: name,
        },
      );
    const data = storages(tensor, name);
    if (!isContiguous(tensor)) return tensorOf(dtype, tensor.shape, gather(tensor, data, width));
    const from = tensor.offset * width;
    return tensorOf(dtype, tensor.shape, data.subarray(from, from + count * width));
  };
}

/** Reads the bytes of storages. Each is read and checked once, and aligned for its elements. */
function storageReader(
  entries: ReadonlyMap<string, ZipEntry>,
  prefix: string,
): (view: TensorView, tensor: string) => Uint8Array {
  const read = new Map<string, Uint8Array>();
  return ({ storage, dtype }, tensor) => {
    const name = `${prefix}data/${storage.key}`;
    const entry = entries.get(name);
    if (!entry) throw problem(`its storage ${formatValue(storage.key)} is not in the archive`, { tensor });
    const expected = storage.count * storageWidth(storage);
    if (entry.size !== expected) {
      throw problem(
        `its storage has ${entry.size} bytes; expected ${expected} for ${storage.count} elements of ${dtype}`,
        {
          tensor,
          offset: entry.offset,
        },
      );
    }
    let bytes = read.get(name);
    if (!bytes) {
      bytes = entry.read();
      if (bytes.byteOffset % 8 !== 0) bytes = bytes.slice();
      read.set(name, bytes);
    }
    return bytes;
  };
}

/** Bytes of an element of a storage; 1 for an untyped storage. */
const storageWidth = ({ type }: Storage): number => {
  const dtype = STORAGES[type];
  return dtype === undefined ? 1 : DTYPE_BYTES[dtype];
};

function requireLittleEndian(entry: ZipEntry | undefined): void {
  const order = entry && entry.size < 64 ? new TextDecoder().decode(entry.read()).trim() : "little";
  if (order !== "little")
    throw problem(
      `its byte order is ${formatValue(order)}; expected "little": save it on a little-endian machine`,
    );
}

function requireInside(name: string, { storage, dtype, offset, shape, stride }: TensorView): void {
  const place = { tensor: name };
  if (shape.length !== stride.length)
    throw problem(`its shape has ${shape.length} sizes, its stride ${stride.length}`, place);
  if (!Number.isSafeInteger(elements(shape) * 8)) throw problem(`its shape is ${formatValue(shape)}`, place);
  const held = Math.floor((storage.count * storageWidth(storage)) / DTYPE_BYTES[dtype!]);
  const last = shape.reduce((sum, n, k) => sum + (n - 1) * stride[k]!, offset);
  if (shape.includes(0) ? offset > held : !(last < held)) {
    throw problem(
      `its shape ${formatValue(shape)} with stride ${formatValue(stride)} from element ${offset} reaches past its storage of ${held} elements`,
      place,
    );
  }
}

function isContiguous({ shape, stride }: TensorView): boolean {
  let expected = 1;
  for (let k = shape.length - 1; k >= 0; k--) {
    if (shape[k] !== 1 && stride[k] !== expected) return shape.includes(0);
    expected *= shape[k]!;
  }
  return true;
}

/** Copies a view's elements in row-major order. */
function gather({ offset, shape, stride }: TensorView, data: Uint8Array, width: number): Uint8Array {
  const count = elements(shape);
  const out = new Uint8Array(count * width);
  const index = new Array<number>(shape.length).fill(0);
  let from = offset;
  for (let i = 0; i < count; i++) {
    for (let b = 0; b < width; b++) out[i * width + b] = data[from * width + b]!;
    for (let k = shape.length - 1; k >= 0; k--) {
      from += stride[k]!;
      if (++index[k]! < shape[k]!) break;
      from -= stride[k]! * shape[k]!;
      index[k] = 0;
    }
  }
  return out;
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

const STORAGE_OF = new Map(Object.entries(STORAGES).map(([name, dtype]) => [dtype, name.split(" ")[1]!]));

/** True for an element type that {@link writeTorch} can write. */
export const isStorable = (dtype: SafetensorsDtype): boolean => STORAGE_OF.has(dtype);

/**
 * A file that `torch.load` reads (also with `weights_only=True`) as an OrderedDict of contiguous CPU tensors, in the
 * order given. The same tensors give the same bytes.
 * @throws UsageError if PyTorch has no storage class for a dtype, or if a shape does not fit its data
 */
export function writeTorch(
  tensors: Iterable<readonly [name: string, tensor: SafetensorsTensor]>,
  { archive = "archive" }: { archive?: string } = {},
): Uint8Array<ArrayBuffer> {
  const items = [...tensors].map(([name, { dtype, shape, data }]) => {
    const storage = STORAGE_OF.get(dtype);
    const count = elements(shape);
    if (storage === undefined)
      throw new UsageError(
        `writeTorch: got ${dtype} for ${formatValue(name)}; expected ${[...STORAGE_OF.keys()].join(", ")}.`,
      );
    if (data.byteLength !== count * DTYPE_BYTES[dtype])
      throw new UsageError(
        `writeTorch: got ${data.byteLength} bytes for ${formatValue(name)}; expected ${count * DTYPE_BYTES[dtype]} for ${dtype} [${shape.join(", ")}].`,
      );
    return {
      name,
      storage,
      shape,
      count,
      bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    };
  });
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  return writeZip([
    [`${archive}/data.pkl`, pickleOf(items)],
    [`${archive}/byteorder`, text("little")],
    ...items.map(({ bytes }, key) => [`${archive}/data/${key}`, bytes] as const),
    [`${archive}/version`, text("3\n")],
  ]);
}

interface WrittenTensor {
  readonly name: string;
  readonly storage: string;
  readonly shape: readonly number[];
  readonly count: number;
}

/** Protocol 2, as torch.save writes it, without the memo: OrderedDict(), then its items. */
function pickleOf(items: readonly WrittenTensor[]): Uint8Array {
  const parts: number[] = [0x80, 2];
  const global = (module: string, name: string): void =>
    void parts.push(0x63, ...new TextEncoder().encode(`${module}\n${name}\n`));
  const u32 = (value: number): number[] =>
    [value, value >>> 8, value >>> 16, value >>> 24].map((b) => b & 255);
  const string = (value: string): void => {
    const bytes = new TextEncoder().encode(value);
    parts.push(0x58, ...u32(bytes.length), ...bytes);
  };
  const integer = (value: number): void => {
    if (value < 256) parts.push(0x4b, value);
    else if (value < 2 ** 31) parts.push(0x4a, ...u32(value));
    else parts.push(0x8a, 8, ...u32(value), ...u32(Math.floor(value / 2 ** 32)));
  };
  const tuple = (values: readonly number[]): void => {
    parts.push(0x28);
    values.forEach(integer);
    parts.push(0x74);
  };
  const orderedDict = (): void => {
    global("collections", "OrderedDict");
    parts.push(0x29, 0x52);
  };
  orderedDict();
  parts.push(0x28);
  items.forEach(({ name, storage, shape, count }, key) => {
    string(name);
    global("torch._utils", "_rebuild_tensor_v2");
    parts.push(0x28, 0x28);
    string("storage");
    global("torch", storage);
    string(String(key));
    string("cpu");
    integer(count);
    parts.push(0x74, 0x51);
    integer(0);
    tuple(shape);
    tuple(shape.map((_, k) => elements(shape.slice(k + 1))));
    parts.push(0x89); // requires_grad
    orderedDict(); // hooks
    parts.push(0x74, 0x52);
  });
  parts.push(0x75, 0x2e);
  return Uint8Array.from(parts);
}

function problem(what: string, place?: FileFormatPlace): FileFormatError {
  return new FileFormatError(FORMAT, what, place);
}
