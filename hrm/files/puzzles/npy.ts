/**
 * NumPy `.npy` files of integers, or floats that are whole numbers (format versions 1 to 3, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html):
 * integers of 8 to 64 bits, signed or not, floats of 32 or 64 bits, either byte order, C or Fortran order.
 */
import { FileFormatError } from "../file_format_error.js";
import { pointerProblem } from "../unsupported_formats.js";
import { formatValue } from "../../format_value.js";

const FORMAT = "npy";
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
/** The most bytes of a header that is read; an array of integers needs about a hundred. */
const LONGEST_HEADER = 65536;
/** NumPy's own limit. */
const MOST_DIMENSIONS = 64;

/** An array of integers in row-major order, whatever order the file has. */
export interface NpyIntegers {
  /** Lengths of the axes. */
  readonly shape: readonly number[];
  /** The elements in C order, as i32. */
  readonly values: Int32Array;
}

interface Header {
  readonly descr: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

/**
 * Reads an array of integers; `file` names it in messages. Needs at most four times the file's size.
 * @throws FileFormatError if it is not such a file, if header and size disagree, or if a value needs more than 32 bits
 */
export function readNpy(bytes: Uint8Array, file = "the file"): NpyIntegers {
  const fail = (problem: string, offset?: number): FileFormatError =>
    new FileFormatError(FORMAT, problem, { file, ...(offset !== undefined && { offset }) });
  if (bytes.length < 10 || MAGIC.some((byte, i) => bytes[i] !== byte))
    throw fail(pointerProblem(bytes) ?? "does not begin with the magic bytes of a .npy file", 0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6]!;
  if (version < 1 || version > 3) throw fail(`format version ${version}; expected 1, 2 or 3`, 6);
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) throw fail("ends inside its header length", 8);
  const headerLength = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (headerLength > Math.min(LONGEST_HEADER, bytes.length - start)) {
    throw fail(
      `a header of ${headerLength} bytes; expected at most ${Math.min(LONGEST_HEADER, bytes.length - start)} here`,
      8,
    );
  }
  const text = String.fromCharCode(...bytes.subarray(start, start + headerLength));
  const header = parseHeader(text);
  if (typeof header === "string") throw fail(`header: ${header}`, start);
  const { descr, fortranOrder, shape } = header;
  const kind = /^([<>|=])?([iubf])([1248])$/.exec(descr);
  if (!kind || (kind[2] === "b" && kind[3] !== "1") || (kind[2] === "f" && Number(kind[3]) < 4))
    throw fail(
      `dtype ${formatValue(descr)}; expected integers of 1, 2, 4 or 8 bytes, or floats of 4 or 8`,
      start,
    );
  const itemSize = Number(kind[3]);
  const count = shape.reduce((a, b) => a * b, 1);
  const body = start + headerLength;
  if (!Number.isSafeInteger(count) || count * itemSize !== bytes.length - body) {
    throw fail(
      `shape (${shapeText(shape)}) of ${itemSize}-byte items takes ${count * itemSize} bytes; the file has ${bytes.length - body}`,
      body,
    );
  }
  const little = kind[1] !== ">";
  const read = readerOf(view, itemSize, kind[2]!, little);
  const values = new Int32Array(count);
  const stored = fortranOrder ? fortranPositions(shape) : null;
  for (let i = 0; i < count; i++) {
    const offset = body + itemSize * (stored ? stored(i) : i);
    const value = read(offset);
    values[i] = value;
    if (values[i] !== value)
      throw fail(
        Number.isInteger(value)
          ? `value ${value} does not fit into 32 bits`
          : `value ${value} at index ${i}; expected whole numbers`,
        offset,
      );
  }
  return { shape, values };
}

/** The sizes of a shape for messages. */
export function shapeText(shape: readonly number[]): string {
  return shape.length > 8 ? `${shape.slice(0, 8).join(", ")}, ...` : shape.join(", ");
}

/** A `.npy` file (version 1.0, C order): bytes where `dtype` is `|u1`, else little-endian 32-bit integers. */
export function writeNpy(
  values: ArrayLike<number>,
  shape: readonly number[],
  dtype: "|u1" | "<i4",
): Uint8Array<ArrayBuffer> {
  const tuple = `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  const text = `{'descr': '${dtype}', 'fortran_order': False, 'shape': ${tuple}, }`;
  // The data begin at a multiple of 64 bytes.
  const body = Math.ceil((10 + text.length + 1) / 64) * 64;
  const header = `${text.padEnd(body - 11)}\n`;
  const itemSize = dtype === "|u1" ? 1 : 4;
  const bytes = new Uint8Array(body + itemSize * values.length);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  bytes.set([1, 0], 6);
  view.setUint16(8, header.length, true);
  for (let i = 0; i < header.length; i++) bytes[10 + i] = header.charCodeAt(i);
  for (let i = 0; i < values.length; i++) {
    if (itemSize === 1) bytes[body + i] = values[i]!;
    else view.setInt32(body + 4 * i, values[i]!, true);
  }
  return bytes;
}

/** The position in Fortran order of the element with row-major index i. */
function fortranPositions(shape: readonly number[]): (index: number) => number {
  // Dimensions of 1 move nothing; without them, there are at most as many as an array's size has bits.
  const sizes: number[] = [];
  const strides: number[] = [];
  let stride = 1;
  for (const size of shape) {
    if (size === 1) continue;
    sizes.push(size);
    strides.push(stride);
    stride *= size;
  }
  return (index) => {
    let position = 0;
    let rest = index;
    for (let k = sizes.length - 1; k >= 0; k--) {
      const digit = rest % sizes[k]!;
      rest = (rest - digit) / sizes[k]!;
      position += digit * strides[k]!;
    }
    return position;
  };
}

function readerOf(
  view: DataView,
  itemSize: number,
  kind: string,
  little: boolean,
): (offset: number) => number {
  const signed = kind === "i";
  if (kind === "f")
    return (at) => (itemSize === 4 ? view.getFloat32(at, little) : view.getFloat64(at, little));
  if (itemSize === 1) return (at) => (signed ? view.getInt8(at) : view.getUint8(at));
  if (itemSize === 2) return (at) => (signed ? view.getInt16(at, little) : view.getUint16(at, little));
  if (itemSize === 4) return (at) => (signed ? view.getInt32(at, little) : view.getUint32(at, little));
  return (at) => {
    const low = view.getUint32(little ? at : at + 4, little);
    const high = signed
      ? view.getInt32(little ? at + 4 : at, little)
      : view.getUint32(little ? at + 4 : at, little);
    return high * 2 ** 32 + low;
  };
}

/** The Python dict of a header, or what is wrong with it. Work is linear in the length of the text. */
function parseHeader(text: string): Header | string {
  const dict = text.trim();
  if (!dict.startsWith("{") || !dict.endsWith("}")) return "expected a dict in braces";
  const found = new Map<string, string>();
  // 'key': value pairs, values being a string, True or False, or a tuple of integers.
  const pair = /\s*(['"])(\w+)\1\s*:\s*('[^']*'|"[^"]*"|True|False|\([\d\sL,]*\))\s*(,|$)/y;
  const inside = dict.slice(1, -1).trim();
  for (let at = 0; at < inside.length; at = pair.lastIndex) {
    pair.lastIndex = at;
    const match = pair.exec(inside);
    if (!match) return `cannot read ${formatValue(inside.slice(at, at + 40))}`;
    const [, , key, value] = match;
    if (found.has(key!)) return `${formatValue(key)} twice`;
    if (found.size === 3) return `more keys than descr, fortran_order and shape: ${formatValue(key)}`;
    found.set(key!, value!);
  }
  const [descr, order, shape] = [found.get("descr"), found.get("fortran_order"), found.get("shape")];
  if (found.size !== 3 || !descr || !order || !shape)
    return `keys ${formatValue([...found.keys()].join(", ") || "none")}; expected descr, fortran_order and shape`;
  if (!/^['"]/.test(descr)) return "descr is not a string";
  if (order !== "True" && order !== "False") return "fortran_order is neither True nor False";
  if (!shape.startsWith("(")) return `shape ${formatValue(shape)} is not a tuple of integers`;
  const items = shape.slice(1, -1).split(",");
  // A comma may follow the last pair.
  if (items.at(-1)!.trim() === "") items.pop();
  if (items.length > MOST_DIMENSIONS)
    return `a shape of ${items.length} dimensions; expected at most ${MOST_DIMENSIONS}`;
  const digits = items.map((item) => item.trim().replace(/L$/, ""));
  if (!digits.every((item) => /^\d+$/.test(item)))
    return `shape ${formatValue(shape)} is not a tuple of integers`;
  const numbers = digits.map(Number);
  if (!numbers.every(Number.isSafeInteger)) return `shape ${formatValue(shape)} is too large`;
  return { descr: descr.slice(1, -1), fortranOrder: order === "True", shape: numbers };
}
