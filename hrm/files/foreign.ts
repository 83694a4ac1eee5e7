/** Files that hold puzzles in a form that is not read here, told by how they begin. */
import { startOfText } from "./text_lines.js";

const compressed = (kind: string, unpack: string): string =>
  `compressed with ${kind}; unpack it first (${unpack})`;

/** First bytes, and what is to be said of such a file. */
const MAGIC: readonly (readonly [bytes: readonly number[], problem: string])[] = [
  [[0x1f, 0x8b], compressed("gzip", "gzip -d")],
  [[0x28, 0xb5, 0x2f, 0xfd], compressed("Zstandard", "zstd -d")],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], compressed("xz", "xz -d")],
  [[0x42, 0x5a, 0x68], compressed("bzip2", "bzip2 -d")],
  [[0x50, 0x4b, 0x03, 0x04], "a zip archive; unpack it first (unzip)"],
  [[0x50, 0x41, 0x52, 0x31], "a Parquet file; write it as CSV first"],
  [
    [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59],
    "one array of a data set; expected its folder, which holds dataset.json",
  ],
  [[0xff, 0xfe], "UTF-16 text; save it as UTF-8"],
  [[0xfe, 0xff], "UTF-16 text; save it as UTF-8"],
];

/** What is wrong with a file that is neither CSV nor JSON lines; null where it may be one of them. */
export function foreignProblem(bytes: Uint8Array): string | null {
  const known = MAGIC.find(([magic]) => magic.every((byte, i) => bytes[i] === byte));
  if (known) return known[1];
  if (/^<(!doctype|html|head|body)/i.test(textStart(bytes)))
    return "an HTML page; expected the file itself (the address of its raw text)";
  return null;
}

/** The first characters that are no white space. */
export function textStart(bytes: Uint8Array): string {
  let at = startOfText(bytes);
  while (at < bytes.length && [9, 10, 13, 32].includes(bytes[at]!)) at++;
  return String.fromCharCode(...bytes.subarray(at, at + 16));
}
