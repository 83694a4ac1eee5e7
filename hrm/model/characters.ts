/**
 * Characters of the group that the rows (or the columns) of a grid with boxes form. The positions `rope2d_boxes` rotate by
 * their angles.
 */

/** Lines of a grid in blocks, for example the rows of a Sudoku in bands: line = `size` x block + place. */
export interface BlockedLines {
  readonly blocks: number;
  readonly size: number;
}

/** A character of Z_blocks x Z_size: it rotates the line (block, place) by 2 pi (a block / blocks + b place / size). */
export type Character = readonly [a: number, b: number];

/**
 * Every character except the constant one; of two conjugate characters only one. The cosines of all characters sum to
 * blocks x size - 1 between equal lines and to -1 between different lines. Characters with b = 0 distinguish blocks only.
 */
export function charactersOf({ blocks, size }: BlockedLines): Character[] {
  const found: Character[] = [];
  for (let b = 0; b < size; b++)
    for (let a = 0; a < blocks; a++) {
      const conjugate: Character = [(blocks - a) % blocks, (size - b) % size];
      const isFirst = a < conjugate[0] || (a === conjugate[0] && b <= conjugate[1]);
      if ((a !== 0 || b !== 0) && isFirst) found.push([a, b]);
    }
  return found;
}

/** The angle of a line in radians, computed from an exact fraction of the circle, so that equal angles have equal bits. */
export function characterAngle([a, b]: Character, { blocks, size }: BlockedLines, line: number): number {
  const circle = blocks * size;
  const part = (a * Math.floor(line / size) * size + b * (line % size) * blocks) % circle;
  return (2 * Math.PI * part) / circle;
}

/** Rows and columns of a grid and of its boxes. */
type Grid = Readonly<Record<"grid_rows" | "grid_columns" | "box_rows" | "box_columns", number>>;

/** The rows of a grid in bands, and its columns in stacks. The result has no meaning if there are no boxes. */
export function blockedLines({ grid_rows, grid_columns, box_rows, box_columns }: Grid): {
  readonly rows: BlockedLines;
  readonly columns: BlockedLines;
} {
  return {
    rows: { blocks: grid_rows / box_rows, size: box_rows },
    columns: { blocks: grid_columns / box_columns, size: box_columns },
  };
}
