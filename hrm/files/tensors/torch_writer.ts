/** Writes files that `torch.load` reads: a zip archive with a pickle that describes the tensors, and a raw file for each storage. */
import { UsageError } from "../../../engine/errors.js";
import { formatValue } from "../../format_value.js";
import { writeZip } from "../archives/zip.js";
import { DTYPE_BYTES, type SafetensorsDtype, type SafetensorsTensor } from "./safetensors.js";
import { elements } from "./torch_data.js";
import { STORAGES } from "./torch_views.js";

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
