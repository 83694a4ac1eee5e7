/** Characters of the group that the rows, or the columns, of a grid with boxes form: what `rope2d_boxes` turns by. */

/** Lines of a grid in blocks, as the rows of a Sudoku in bands: line = `size` x block + place. */
export interface BlockedLines {
  readonly blocks: number;
  readonly size: number;
}

/** A character of Z_blocks x Z_size: the line (block, place) turns by 2 pi (a block / blocks + b place / size). */
export type Character = readonly [a: number, b: number];

/**
 * Every character but the constant one, and one of each two that are conjugate. The cosines of all characters sum to
 * blocks x size - 1 between equal lines and to -1 between others; those without b tell blocks alone.
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

/** The angle of a line, as an exact fraction of the circle, so that equal characters have equal bits. */
export function characterAngle([a, b]: Character, { blocks, size }: BlockedLines, line: number): number {
  const circle = blocks * size;
  const part = (a * Math.floor(line / size) * size + b * (line % size) * blocks) % circle;
  return (2 * Math.PI * part) / circle;
}
