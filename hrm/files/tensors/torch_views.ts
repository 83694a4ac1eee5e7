/**
 * Tensors as the pickle of a `torch.save` file describes them: views of storages, and the functions of PyTorch that make
 * them. No other name of a pickle has an effect.
 */
import { formatValue } from "../../format_value.js";
import type { PickleFunction } from "./pickle_machine.js";
import { isGlobal, isObject, isTuple, type PickleValue } from "./pickle_values.js";
import { DTYPE_BYTES, type SafetensorsDtype } from "./safetensors.js";

/** Element type of each storage class that is supported. */
export const STORAGES: Readonly<Record<string, SafetensorsDtype>> = {
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
export class Storage {
  constructor(
    readonly key: string,
    /** Its storage class, `torch FloatStorage`. */
    readonly type: string,
    /** Number of elements; number of bytes in an untyped storage. */
    readonly count: number,
  ) {}
}

/** A view of a storage: element (i, j, ...) is at offset + i stride[0] + j stride[1] + ... */
export class TensorView {
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

/** Bytes of an element of a storage; 1 for an untyped storage. */
export const storageWidth = ({ type }: Storage): number => {
  const dtype = STORAGES[type];
  return dtype === undefined ? 1 : DTYPE_BYTES[dtype];
};

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
export const GLOBALS: ReadonlyMap<string, PickleFunction> = new Map<string, PickleFunction>([
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

/** Persistent ids are ("storage", class, key, location, elements). The location is ignored. */
export function storageOf(id: PickleValue): PickleValue {
  const [kind, type, key, , count] = isTuple(id) ? id.items : [];
  if (kind !== "storage" || !isGlobal(type) || typeof key !== "string" || key.length > 100)
    throw new Error('expected ("storage", class, key, location, elements)');
  if (!/Storage$/.test(type.name)) throw new Error(`${formatValue(type.name)} is no storage class`);
  return { kind: "object", value: new Storage(key, type.name, size(count, "number of elements")) };
}
