/**
 * Files of `torch.save` since PyTorch 1.6: a zip archive with a pickle `<name>/data.pkl` that describes tensors, and a
 * raw file `<name>/data/<key>` for each storage that they are views of. The pickle is read by a machine that executes
 * nothing (pickle.ts), so a file from a stranger can be opened.
 */
import { UsageError } from "../../engine/errors.js";
import { FileFormatError, type FileFormatPlace } from "./file_format_error.js";
import {
  isDict,
  isGlobal,
  isObject,
  isTuple,
  readPickle,
  type PickleDict,
  type PickleFunction,
  type PickleValue,
} from "./pickle.js";
import { DTYPE_BYTES, tensorOf, type SafetensorsDtype, type SafetensorsTensor } from "./safetensors.js";
import { isZip, readZip, writeZip, type ZipEntry } from "./zip.js";

const FORMAT = "torch";

/** Element type of each storage class that tensors here may have. */
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

/** A storage as the pickle describes it. */
class Storage {
  constructor(
    readonly key: string,
    readonly dtype: SafetensorsDtype,
    /** Elements. */
    readonly count: number,
  ) {}
}

/** A view of a storage: element (i, j, ...) is at offset + i stride[0] + j stride[1] + ... */
class TensorView {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly stride: readonly number[],
  ) {}
}

const dict: PickleFunction = (args) => {
  const entries = new Map<string | number, PickleValue>();
  for (const pair of args.length > 0 && Array.isArray(args[0]) ? args[0] : []) {
    const [key, value] = Array.isArray(pair) ? pair : isTuple(pair) ? pair.items : [];
    if (typeof key !== "string" && typeof key !== "number") throw new Error("a key that is no string");
    entries.set(key, value ?? null);
  }
  return { kind: "dict", entries };
};

const view: PickleFunction = ([storage, offset, shape, stride]) => {
  if (!isObject(storage) || !(storage.value instanceof Storage))
    throw new Error("no storage where one belongs");
  return {
    kind: "object",
    value: new TensorView(
      storage.value,
      size(offset, "storage offset"),
      sizes(shape, "shape"),
      sizes(stride, "stride"),
    ),
  };
};

/** Everything that a file of tensors has reason to name. */
const GLOBALS: ReadonlyMap<string, PickleFunction> = new Map<string, PickleFunction>([
  ["collections OrderedDict", dict],
  ["torch._utils _rebuild_tensor_v2", view],
  ["torch._utils _rebuild_tensor", view],
  ["torch._utils _rebuild_parameter", ([data]) => data ?? null],
  ["torch Size", ([items]) => items ?? null],
  ...Object.keys(STORAGES).map((name) => [name, null] as const),
]);

function size(value: PickleValue | undefined, what: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw new Error(`a ${what} that is not an integer of at least 0`);
  return value as number;
}

function sizes(value: PickleValue | undefined, what: string): readonly number[] {
  const items = isTuple(value) ? value.items : Array.isArray(value) ? value : null;
  if (!items) throw new Error(`a ${what} that is no tuple`);
  return items.map((item) => size(item, what));
}

/** True for bytes that begin as a file of `torch.save` does, in its new format or its old one. */
export function isTorch(bytes: Uint8Array): boolean {
  return isZip(bytes) || (bytes[0] === 0x80 && bytes[1] === 2);
}

/**
 * The tensors of a `torch.save` file, by name: a state dict, or a dict that holds one (`model`, `state_dict`,
 * `model_state_dict`). Contiguous tensors are views of the bytes given; others are gathered. Values that are no tensors
 * are left out.
 * @throws FileFormatError on anything else
 */
export function readTorch(bytes: Uint8Array): ReadonlyMap<string, SafetensorsTensor> {
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
  const root = readPickle(entries.get(pickles[0]!)!.read(), { globals: GLOBALS, persistent: storageOf });
  const storages = storageReader(entries, prefix);
  const views = stateDict(root);
  // Gathered copies are the one thing here that a lying file could make large.
  let mayCopy = 4 * bytes.length;
  const tensors = new Map<string, SafetensorsTensor>();
  for (const [name, tensor] of views) {
    requireInside(name, tensor);
    const { dtype } = tensor.storage;
    const width = DTYPE_BYTES[dtype];
    const count = elements(tensor.shape);
    const data = storages(tensor.storage, name);
    if (isContiguous(tensor)) {
      const from = tensor.offset * width;
      tensors.set(name, tensorOf(dtype, tensor.shape, data.subarray(from, from + count * width)));
      continue;
    }
    if ((mayCopy -= count * width) < 0)
      throw problem(
        `its shape [${tensor.shape.join(", ")}] asks for far more memory than the file has bytes`,
        { tensor: name },
      );
    tensors.set(name, tensorOf(dtype, tensor.shape, gather(tensor, data, width)));
  }
  return tensors;
}

/** Persistent ids are ("storage", class, key, location, elements); where it was saved from does not matter. */
function storageOf(id: PickleValue): PickleValue {
  const [kind, type, key, , count] = isTuple(id) ? id.items : [];
  if (kind !== "storage" || !isGlobal(type) || typeof key !== "string")
    throw new Error('expected ("storage", class, key, location, elements)');
  const dtype = STORAGES[type.name];
  if (dtype === undefined) throw new Error(`${type.name} is no storage class`);
  return { kind: "object", value: new Storage(key, dtype, size(count, "number of elements")) };
}

/** The bytes of storages, each read (and its checksum compared) once. */
function storageReader(
  entries: ReadonlyMap<string, ZipEntry>,
  prefix: string,
): (storage: Storage, tensor: string) => Uint8Array {
  const read = new Map<string, Uint8Array>();
  return ({ key, dtype, count }, tensor) => {
    const name = `${prefix}data/${key}`;
    const entry = entries.get(name);
    if (!entry) throw problem(`its storage ${JSON.stringify(key)} is not in the archive`, { tensor });
    const expected = count * DTYPE_BYTES[dtype];
    if (entry.size !== expected) {
      throw problem(
        `its storage has ${entry.size} bytes; expected ${expected} for ${count} elements of ${dtype}`,
        {
          tensor,
          offset: entry.offset,
        },
      );
    }
    const bytes = read.get(name) ?? entry.read();
    read.set(name, bytes);
    return bytes;
  };
}

function requireLittleEndian(entry: ZipEntry | undefined): void {
  const order = entry && entry.size < 64 ? new TextDecoder().decode(entry.read()).trim() : "little";
  if (order !== "little")
    throw problem(
      `its byte order is ${JSON.stringify(order)}; expected "little": save it on a little-endian machine`,
    );
}

function stateDict(root: PickleValue): [string, TensorView][] {
  const dicts = [
    root,
    ...["state_dict", "model_state_dict", "model"].map((key) => isDict(root) && root.entries.get(key)),
  ];
  for (const candidate of dicts) {
    if (!candidate || !isDict(candidate)) continue;
    const tensors = tensorsIn(candidate);
    if (tensors.length > 0) return tensors;
  }
  throw problem(
    isDict(root)
      ? `its dict has no tensors; it has the keys ${[...root.entries.keys()].slice(0, 8).join(", ") || "(none)"}; expected a state dict`
      : "it holds no dict; expected a state dict",
  );
}

function tensorsIn({ entries }: PickleDict): [string, TensorView][] {
  return [...entries].flatMap(([key, value]) =>
    isObject(value) && value.value instanceof TensorView ? [[String(key), value.value]] : [],
  );
}

function requireInside(name: string, { storage, offset, shape, stride }: TensorView): void {
  const place = { tensor: name };
  if (shape.length !== stride.length)
    throw problem(`its shape has ${shape.length} sizes, its stride ${stride.length}`, place);
  if (shape.length > 64) throw problem(`it has ${shape.length} dimensions; expected at most 64`, place);
  if (!Number.isSafeInteger(elements(shape) * 8)) throw problem(`its shape is [${shape.join(", ")}]`, place);
  const empty = shape.includes(0);
  const last = shape.reduce((sum, n, k) => sum + (n - 1) * stride[k]!, offset);
  if (empty ? offset > storage.count : !(last < storage.count)) {
    throw problem(
      `its shape [${shape.join(", ")}] with stride [${stride.join(", ")}] from element ${offset} reaches past its storage of ${storage.count} elements`,
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

/**
 * A file that `torch.load` reads (also with `weights_only=True`) as an OrderedDict of contiguous CPU tensors, in the
 * order given. The same tensors give the same bytes.
 * @throws UsageError on a dtype that PyTorch has no storage class for, and on a shape that does not fit its data
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
        `writeTorch: got ${dtype} for ${JSON.stringify(name)}; expected ${[...STORAGE_OF.keys()].join(", ")}.`,
      );
    if (data.byteLength !== count * DTYPE_BYTES[dtype])
      throw new UsageError(
        `writeTorch: got ${data.byteLength} bytes for ${JSON.stringify(name)}; expected ${count * DTYPE_BYTES[dtype]} for ${dtype} [${shape.join(", ")}].`,
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
