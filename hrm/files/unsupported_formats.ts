/** Formats that are not supported, recognised by the first bytes of a file, and advice for each. */
import { startOfText } from "./puzzles/text_lines.js";

const compressed = (kind: string, unpack: string): string =>
  `compressed with ${kind}; unpack it first (${unpack})`;

/** First bytes of each format, and the end of the message about such a file. */
const MAGIC: readonly (readonly [bytes: readonly number[], problem: string])[] = [
  [[0x1f, 0x8b], compressed("gzip", "gzip -d")],
  [[0x28, 0xb5, 0x2f, 0xfd], compressed("Zstandard", "zstd -d")],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], compressed("xz", "xz -d")],
  [[0x42, 0x5a, 0x68], compressed("bzip2", "bzip2 -d")],
  [[0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], compressed("7-Zip", "7z x")],
  [[0x50, 0x4b, 0x03, 0x04], "a zip archive; unpack it first (unzip)"],
  [[0x50, 0x41, 0x52, 0x31], "a Parquet file; write it as CSV first"],
  [[0x41, 0x52, 0x52, 0x4f, 0x57, 0x31], "an Arrow file; write it as CSV first"],
  [[0xff, 0xff, 0xff, 0xff], "an Arrow stream; write it as CSV first"],
  [[0x89, 0x48, 0x44, 0x46], "an HDF5 file; write its arrays with numpy.save or as CSV first"],
  [[0x80, 0x02], "a Python pickle; write it as CSV or JSON lines first"],
  [[0x80, 0x03], "a Python pickle; write it as CSV or JSON lines first"],
  [[0x80, 0x04], "a Python pickle; write it as CSV or JSON lines first"],
  [[0x80, 0x05], "a Python pickle; write it as CSV or JSON lines first"],
  [[0x53, 0x51, 0x4c, 0x69, 0x74, 0x65], "an SQLite database; write its table as CSV first"],
  [[0x25, 0x50, 0x44, 0x46], "a PDF document; expected a text file of puzzles"],
  [
    [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59],
    "one array of a data set; expected its folder, which holds dataset.json",
  ],
  [[0xff, 0xfe], "UTF-16 text; save it as UTF-8"],
  [[0xfe, 0xff], "UTF-16 text; save it as UTF-8"],
];

/** Why a file cannot hold puzzles as text; null if it may hold them. */
export function unsupportedProblem(bytes: Uint8Array): string | null {
  const pointer = pointerProblem(bytes);
  if (pointer !== null) return pointer;
  const known = MAGIC.find(([magic]) => magic.every((byte, i) => bytes[i] === byte));
  if (known) return known[1];
  if (/^<(!doctype|html|head|body)/i.test(textStart(bytes)))
    return "an HTML page; expected the file itself (the address of its raw text)";
  return null;
}

/** The most bytes of a pointer, which is a text of a few lines. */
const LONGEST_POINTER = 1024;

/**
 * The message about a file that Git LFS or git-annex left in place of the real file; null if the bytes are not such a
 * pointer.
 */
export function pointerProblem(bytes: Uint8Array): string | null {
  const text = textStart(bytes, LONGEST_POINTER);
  if (/^version https?:\/\/(git-lfs\.github\.com|hawser\.github\.com|git-media\.io)\//.test(text)) {
    const size = /^size (\d{1,20})\s*$/m.exec(text)?.[1];
    return `a Git LFS pointer of a file of ${size ?? "unknown"}${size === undefined ? " size" : " bytes"}, not the file; fetch the file itself (git lfs pull)`;
  }
  if (bytes.length <= LONGEST_POINTER && /^(\.\.\/)*(\.git)?\/annex\/objects\//.test(text))
    return "a git-annex pointer, not the file; fetch the file itself (git annex get)";
  return null;
}

/** The first characters after any white space. */
export function textStart(bytes: Uint8Array, characters = 16): string {
  let at = startOfText(bytes);
  while (at < bytes.length && [9, 10, 13, 32].includes(bytes[at]!)) at++;
  return String.fromCharCode(...bytes.subarray(at, at + characters));
}
