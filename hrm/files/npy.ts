/**
 * NumPy `.npy` files of integers (format versions 1 to 3, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html):
 * 8 to 64 bits, signed or not, either byte order, C or Fortran order.
 */
import { FileFormatError } from "./file_format_error.js";
import { pointerProblem } from "./foreign.js";

const FORMAT = "npy";
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
/** The header of an array of integers needs about a hundred bytes. */
const LONGEST_HEADER = 65536;

/** An array of integers, row-major whatever the file's order. */
export interface NpyIntegers {
  readonly shape: readonly number[];
  readonly values: Int32Array;
}

interface Header {
  readonly descr: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
}

/**
 * Reads an array of integers; `file` names it in messages. Needs at most four times the file's size.
 * @throws FileFormatError where it is none, where header and size disagree, or where a value needs more than 32 bits
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
  const kind = /^([<>|=])?([iub])([1248])$/.exec(descr);
  if (!kind || (kind[2] === "b" && kind[3] !== "1"))
    throw fail(`dtype ${JSON.stringify(descr)}; expected integers of 1, 2, 4 or 8 bytes`, start);
  const itemSize = Number(kind[3]);
  const count = shape.reduce((a, b) => a * b, 1);
  const body = start + headerLength;
  if (!Number.isSafeInteger(count) || count * itemSize !== bytes.length - body) {
    throw fail(
      `shape (${shape.join(", ")}) of ${itemSize}-byte items takes ${count * itemSize} bytes; the file has ${bytes.length - body}`,
      body,
    );
  }
  const little = kind[1] !== ">";
  const read = readerOf(view, itemSize, kind[2] === "i", little);
  const values = new Int32Array(count);
  const stored = fortranOrder ? fortranPositions(shape) : null;
  for (let i = 0; i < count; i++) {
    const offset = body + itemSize * (stored ? stored(i) : i);
    const value = read(offset);
    values[i] = value;
    if (values[i] !== value) throw fail(`value ${value} does not fit into 32 bits`, offset);
  }
  return { shape, values };
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

/** Where Fortran order stores the element with row-major index i. */
function fortranPositions(shape: readonly number[]): (index: number) => number {
  return (index) => {
    let position = 0;
    let rest = index;
    for (let k = shape.length - 1; k >= 0; k--) {
      const digit = rest % shape[k]!;
      rest = (rest - digit) / shape[k]!;
      let stride = 1;
      for (let j = 0; j < k; j++) stride *= shape[j]!;
      position += digit * stride;
    }
    return position;
  };
}

function readerOf(
  view: DataView,
  itemSize: number,
  signed: boolean,
  little: boolean,
): (offset: number) => number {
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

/** The Python dict of a header, or what is wrong with it. */
function parseHeader(text: string): Header | string {
  const dict = /^\s*\{(.*)\}\s*$/s.exec(text);
  if (!dict) return "expected a dict in braces";
  const found = new Map<string, string>();
  // 'key': value pairs, values being a string, True or False, or a tuple of integers.
  const pair = /\s*(['"])(\w+)\1\s*:\s*('[^']*'|"[^"]*"|True|False|\([\d\sL,]*\))\s*(?:,|$)/y;
  const inside = dict[1]!;
  let at = 0;
  while (inside.slice(at).trim() !== "") {
    pair.lastIndex = at;
    const match = pair.exec(inside);
    if (!match) return `cannot read ${JSON.stringify(inside.slice(at, at + 40))}`;
    if (found.has(match[2]!)) return `"${match[2]}" twice`;
    found.set(match[2]!, match[3]!);
    at = pair.lastIndex;
  }
  const [descr, order, shape] = [found.get("descr"), found.get("fortran_order"), found.get("shape")];
  if (found.size !== 3 || !descr || !order || !shape)
    return `keys ${[...found.keys()].join(", ") || "none"}; expected descr, fortran_order and shape`;
  if (!/^['"]/.test(descr)) return "descr is not a string";
  if (order !== "True" && order !== "False") return "fortran_order is neither True nor False";
  const sizes = /^\(\s*(?:(\d+L?)\s*((?:,\s*\d+L?\s*)*),?\s*)?\)$/.exec(shape);
  if (!sizes) return `shape ${shape.slice(0, 40)} is not a tuple of integers`;
  const numbers = [...shape.matchAll(/\d+/g)].map(([digits]) => Number(digits));
  if (!numbers.every(Number.isSafeInteger)) return `shape ${shape.slice(0, 40)} is too large`;
  return { descr: descr.slice(1, -1), fortranOrder: order === "True", shape: numbers };
}
