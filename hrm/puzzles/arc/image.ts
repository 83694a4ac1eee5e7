/**
 * Images of ARC tasks under the official augmentation (build_arc_dataset.py): one of the 8 rotations and reflections, and
 * colours exchanged, of which 0 (black) stays. Every image is a task of its own, with its own puzzle identifier.
 */
import type { HostRandom } from "../random.js";
import { shuffle } from "../random.js";
import { ARC, gridKey, type ArcGrid, type ArcPair } from "./grid.js";

/** How an image is made. */
export interface ArcImage {
  /** Number of the rotation or reflection, in the official order (`dihedralSources`); 0 changes nothing. */
  readonly dihedral: number;
  /** What each colour becomes, [10]: a permutation that keeps 0. */
  readonly colours: Uint8Array;
}

/** The number of the rotation or reflection that undoes each one. */
const INVERSE = [0, 3, 2, 1, 4, 5, 6, 7] as const;

/** A random image, uniform over all 8 * 9! of them. */
export function randomImage(random: HostRandom): ArcImage {
  const dihedral = random.below(8);
  const others = Array.from({ length: ARC.colours - 1 }, (_, i) => i + 1);
  shuffle(random, others);
  return { dihedral, colours: Uint8Array.of(0, ...others) };
}

/**
 * What a rotation or reflection of rows x columns takes: its cell (r, c) is the cell at `start + r * down + c * right` of the
 * original; `swaps` says that rows and columns are exchanged.
 */
function strides(rows: number, columns: number, dihedral: number) {
  const [bottom, last] = [(rows - 1) * columns, columns - 1];
  const maps = [
    { start: 0, down: columns, right: 1, swaps: false },
    { start: last, down: -1, right: columns, swaps: true },
    { start: bottom + last, down: -columns, right: -1, swaps: false },
    { start: bottom, down: 1, right: -columns, swaps: true },
    { start: last, down: columns, right: -1, swaps: false },
    { start: bottom, down: -columns, right: 1, swaps: false },
    { start: 0, down: 1, right: columns, swaps: true },
    { start: bottom + last, down: -1, right: -columns, swaps: true },
  ];
  return maps[dihedral]!;
}

/** The grid rotated or reflected, by the official number of the map. */
export function turned({ rows, columns, cells }: ArcGrid, dihedral: number): ArcGrid {
  const { start, down, right, swaps } = strides(rows, columns, dihedral);
  const [height, width] = swaps ? [columns, rows] : [rows, columns];
  const image = new Uint8Array(cells.length);
  for (let r = 0, i = 0; r < height; r++)
    for (let c = 0; c < width; c++) image[i++] = cells[start + r * down + c * right]!;
  return { rows: height, columns: width, cells: image };
}

function recoloured({ rows, columns, cells }: ArcGrid, colours: ArrayLike<number>): ArcGrid {
  return { rows, columns, cells: cells.map((colour) => colours[colour]!) };
}

/** The image of a grid: colours are exchanged, then it is rotated or reflected. */
export function imageOf(grid: ArcGrid, { dihedral, colours }: ArcImage): ArcGrid {
  return turned(recoloured(grid, colours), dihedral);
}

/** The grid of which `grid` is the image. */
export function preimageOf(grid: ArcGrid, { dihedral, colours }: ArcImage): ArcGrid {
  const back = new Uint8Array(ARC.colours);
  colours.forEach((to, from) => (back[to] = from));
  return recoloured(turned(grid, INVERSE[dihedral]!), back);
}

/** The images of both grids of a pair. */
export function imageOfPair({ input, output }: ArcPair, image: ArcImage): ArcPair {
  return { input: imageOf(input, image), output: output && imageOf(output, image) };
}

/** The name of a task's image, as the official builder writes it into identifiers.json: `007bbfb7_t3_0213456789`. */
export function imageName(id: string, { dihedral, colours }: ArcImage): string {
  return `${id}_t${dihedral}_${colours.join("")}`;
}

/** The task and the image that a name stands for; `image` is null for the task itself. Also reads TRM's `id|||t3|||0213456789`. */
export function parseImageName(name: string): { readonly id: string; readonly image: ArcImage | null } {
  const parts = /^(.*)(?:_|\|\|\|)t([0-7])(?:_|\|\|\|)(0\d{9})$/s.exec(name);
  if (!parts || new Set(parts[3]).size !== ARC.colours) return { id: name, image: null };
  return {
    id: parts[1]!,
    image: { dihedral: Number(parts[2]), colours: Uint8Array.from(parts[3]!, Number) },
  };
}

/**
 * A text that is equal exactly for pairs that such images map on each other: the least, over the 8 rotations and
 * reflections, with colours other than 0 numbered in the order in which they appear.
 */
export function pairClass({ input, output }: ArcPair): string {
  let least: string | undefined;
  for (let dihedral = 0; dihedral < 8; dihedral++) {
    const number = new Uint8Array(ARC.colours).fill(255);
    number[0] = 0;
    let next = 1;
    const numbered = (grid: ArcGrid): string => {
      const image = turned(grid, dihedral);
      for (const colour of image.cells) if (number[colour] === 255) number[colour] = next++;
      return gridKey(recoloured(image, number));
    };
    const text = `${numbered(input)}|${output ? numbered(output) : ""}`;
    if (least === undefined || text < least) least = text;
  }
  return least!;
}
