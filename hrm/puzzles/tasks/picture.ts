/** Pictures of grids as SVG text: cells with a background and a mark, and lines of two weights. */

/** The appearance of one cell. */
export interface PictureCell {
  /** One or a few characters, centred. */
  readonly text?: string;
  /** `given` marks are bold, `filled` marks are blue. Default `given`. */
  readonly ink?: "given" | "filled";
  /** Background. */
  readonly fill?: "wall" | "path" | "end" | "violation";
}

/** What a grid looks like as SVG. */
export interface PictureOptions {
  /** Rows of cells. */
  readonly rows: number;
  /** Columns of cells. */
  readonly columns: number;
  /** Accessible name. */
  readonly label: string;
  /** Rows and columns between heavy lines. 0 draws only the heavy frame, and no thin lines. */
  readonly box: { readonly rows: number; readonly columns: number };
  /** What to draw in a cell, counted row by row from 0. */
  readonly cell: (index: number) => PictureCell;
}

const SIDE = 20;
const FILLS = { wall: "currentColor", path: "#86b6f7", end: "#f2c94c", violation: "#f4a09b" } as const;
const FILLED_INK = "#2563eb";

/** An `svg` element of `columns` x `rows` cells; lines and givens are drawn in `currentColor`. */
export function gridPicture({ rows, columns, label, box, cell }: PictureOptions): string {
  const [width, height] = [columns * SIDE, rows * SIDE];
  const backgrounds: string[] = [];
  const texts: string[] = [];
  for (let index = 0; index < rows * columns; index++) {
    const { text, ink = "given", fill } = cell(index);
    const [x, y] = [(index % columns) * SIDE, Math.floor(index / columns) * SIDE];
    if (fill)
      backgrounds.push(`<rect x="${x}" y="${y}" width="${SIDE}" height="${SIDE}" fill="${FILLS[fill]}"/>`);
    if (text) {
      const style = ink === "given" ? 'font-weight="bold" fill="currentColor"' : `fill="${FILLED_INK}"`;
      texts.push(`<text x="${x + SIDE / 2}" y="${y + SIDE * 0.72}" ${style}>${escaped(text)}</text>`);
    }
  }
  const lines = (every: { rows: number; columns: number }): string => {
    let path = "";
    for (let r = 0; r <= rows; r += every.rows || rows) path += `M0 ${r * SIDE}H${width}`;
    for (let c = 0; c <= columns; c += every.columns || columns) path += `M${c * SIDE} 0V${height}`;
    return path;
  };
  const thin = box.rows > 0 ? `<path d="${lines({ rows: 1, columns: 1 })}" stroke-width="0.5"/>` : "";
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 ${width + 2} ${height + 2}" role="img" aria-label="${escaped(label)}">` +
    backgrounds.join("") +
    `<g text-anchor="middle" font-family="sans-serif" font-size="${SIDE * 0.65}">${texts.join("")}</g>` +
    `<g fill="none" stroke="currentColor">${thin}<path d="${lines(box)}" stroke-width="2"/></g></svg>`
  );
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
