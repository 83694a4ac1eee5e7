/**
 * Foreign text and values as messages show them: escaped, so that nothing in a file reaches the terminal as a command,
 * and short, so that no message holds more than a line of them.
 */

const LONGEST = 60;

/**
 * Characters that a terminal or a reader does not show as they are: controls (C0, DEL, C1), line and paragraph
 * separators, marks that turn the direction of text, characters without width, and halves of surrogate pairs.
 */
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Surrogate}|\p{Private_Use}/gu;

const escapeOf = (character: string): string => {
  if (character === "\n") return "\\n";
  if (character === "\r") return "\\r";
  if (character === "\t") return "\\t";
  const code = character.codePointAt(0)!;
  return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, "0")}`;
};

/**
 * A value for a message, on one line and short whatever it is: a file may hold lists nested deeper than
 * `JSON.stringify` has stack for, and strings as long as itself. Strings are quoted.
 */
export function formatValue(value: unknown): string {
  if (typeof value === "string") return quoted(value);
  if (value === undefined) return "nothing";
  if (typeof value === "bigint" || (typeof value === "number" && !Number.isFinite(value)))
    return shortened(String(value));
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? typeof value;
  if (!Array.isArray(value)) return "an object";
  const items = value.slice(0, LONGEST).map((item) => (Array.isArray(item) ? "[...]" : formatValue(item)));
  return shortened(`[${items.join(", ")}${value.length > LONGEST ? ", " : ""}]`);
}

/** Text of a file (a name, a key, an error of a parser) without quotes: escaped, and at most `longest` characters. */
export function formatText(text: string, longest = LONGEST): string {
  // Cut before it is escaped, too: the text may be as long as a file.
  return shortened(text.slice(0, longest + 1).replace(HIDDEN, escapeOf), longest);
}

/** The first few names of a file, and the number of further names; "nothing" if there are no names. */
export function formatNames(names: Iterable<string | number>, most = 6): string {
  const first: string[] = [];
  let count = 0;
  for (const name of names) if (count++ < most) first.push(formatText(String(name)));
  if (count === 0) return "nothing";
  return `${first.join(", ")}${count > most ? ` and ${count - most} more` : ""}`;
}

/**
 * Whole lines for a terminal or a log: every hidden character is escaped but line ends, tabs and, if `color` is set,
 * the sequences that set a colour.
 */
export function printable(text: string, { color = false }: { readonly color?: boolean } = {}): string {
  if (color)
    return text
      .split(/(\u001b\[[0-9;]*m)/)
      .map((part, i) => (i % 2 ? part : printable(part)))
      .join("");
  return text.replace(HIDDEN, (character) =>
    character === "\n" || character === "\t" ? character : escapeOf(character),
  );
}

function quoted(text: string): string {
  const inner = JSON.stringify(text.slice(0, LONGEST)).replace(HIDDEN, escapeOf);
  return text.length > LONGEST || inner.length > LONGEST
    ? `${inner.slice(0, LONGEST - 4).replace(/"$/, "")}..."`
    : inner;
}

function shortened(text: string, longest = LONGEST): string {
  return text.length > longest ? `${text.slice(0, longest - 3)}...` : text;
}
