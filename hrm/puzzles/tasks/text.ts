/** Text for terminals: ANSI styles, and blocks of lines next to each other. */

const CODES = { bold: 1, dim: 2, red: 31, green: 32 } as const;

export type TextStyle = keyof typeof CODES;

/** Wraps text in the ANSI codes of the styles; without styles, the text itself. */
export function styled(text: string, styles: readonly TextStyle[]): string {
  return styles.length === 0 ? text : `\x1b[${styles.map((style) => CODES[style]).join(";")}m${text}\x1b[0m`;
}

/** Columns that a line takes in a terminal: its characters without ANSI codes. */
export function visibleWidth(line: string): number {
  return [...line.replace(/\x1b\[[0-9;]*m/g, "")].length;
}

/** How blocks of text are placed beside each other. */
export interface SideBySideOptions {
  /** Columns of the terminal: blocks that do not fit start a new band. Default 80. */
  readonly columns?: number;
  /** Spaces between blocks. Default 2. */
  readonly gap?: number;
}

/** Lays out blocks of lines from left to right, a centred title above each; missing titles stay empty. */
export function renderSideBySide(
  blocks: readonly string[],
  titles: readonly string[] = [],
  { columns = 80, gap = 2 }: SideBySideOptions = {},
): string {
  const boxes = blocks.map((block, i) => {
    const lines = block.split("\n");
    const title = titles[i] ?? "";
    const width = Math.max(visibleWidth(title), ...lines.map(visibleWidth));
    const left = " ".repeat(Math.floor((width - visibleWidth(title)) / 2));
    return { width, lines: titles.length === 0 ? lines : [left + title, ...lines] };
  });
  const bands: (typeof boxes)[] = [];
  let used = Infinity;
  for (const box of boxes) {
    if (used + gap + box.width > columns) {
      bands.push([]);
      used = -gap;
    }
    bands.at(-1)!.push(box);
    used += gap + box.width;
  }
  const separator = " ".repeat(gap);
  return bands
    .map((band) => {
      const height = Math.max(...band.map(({ lines }) => lines.length));
      const row = (i: number): string =>
        band
          .map(({ width, lines }) => (lines[i] ?? "") + " ".repeat(width - visibleWidth(lines[i] ?? "")))
          .join(separator)
          .trimEnd();
      return Array.from({ length: height }, (_, i) => row(i)).join("\n");
    })
    .join("\n\n");
}
