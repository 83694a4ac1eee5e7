/**
 * Small tasks in the manner of ARC, made by rules that are known: a model that learns them has learned to read a task from
 * its demonstrations. Grids have sides of 3 to 8, so that they fit a canvas of 10 x 10 with their EOS.
 */
import { UsageError } from "../../../engine/errors.js";
import { hostRandom, type HostRandom } from "../random.js";
import type { ArcGrid, ArcPair, ArcTask } from "./grid.js";
import { turned } from "./image.js";

/** The families of `arc-toy`, each with its rule. */
export const ARC_TOY_FAMILIES = ["recolour", "mirror", "gravity", "count", "flood"] as const;

/** Side of the canvas that the grids of `arc-toy` fit. */
export const ARC_TOY_SIDE = 10;

/** How many tasks are made, and how large they are. */
export interface ArcToyOptions {
  /** Number of tasks; the families take turns. */
  readonly count: number;
  /** Decides the tasks. */
  readonly seed: number;
  /** Demonstrations of each task; default 8. */
  readonly demonstrations?: number;
  /** Tests of each task; default 4. */
  readonly tests?: number;
}

/** Makes one pair of a task. */
type Rule = (random: HostRandom) => ArcPair;

/** Tasks with names such as `flood-7`. @throws UsageError on counts below 1 */
export function generateArcToy({ count, seed, demonstrations = 8, tests = 4 }: ArcToyOptions): ArcTask[] {
  for (const [name, value] of Object.entries({ count, demonstrations, tests }))
    if (!Number.isInteger(value) || value < 1)
      throw new UsageError(`generateArcToy: got ${name} = ${value}; expected a positive integer.`);
  return Array.from({ length: count }, (_, i) => {
    const family = ARC_TOY_FAMILIES[i % ARC_TOY_FAMILIES.length]!;
    const random = hostRandom(seed, `arc-toy ${i}`);
    const rule = RULES[family](random);
    const pairs = (number: number) => Array.from({ length: number }, () => rule(random));
    return { id: `${family}-${i}`, train: pairs(demonstrations), test: pairs(tests) };
  });
}

/** What the parameters of a task are drawn from, by family. */
const RULES: Readonly<Record<(typeof ARC_TOY_FAMILIES)[number], (random: HostRandom) => Rule>> = {
  /** One colour becomes another. */
  recolour(parameters) {
    const from = colour(parameters);
    const to = otherColour(parameters, from);
    return (random) => {
      const input = scattered(random, (n) => (n.below(2) === 0 ? from : otherColour(n, from)));
      input.cells[random.below(input.cells.length)] = from;
      return { input, output: { ...input, cells: input.cells.map((c) => (c === from ? to : c)) } };
    };
  },
  /** The grid is reflected left to right, upside down or at its diagonal. */
  mirror(parameters) {
    const dihedral = 4 + parameters.below(3);
    return (random) => {
      const input = scattered(random, colour);
      return { input, output: turned(input, dihedral) };
    };
  },
  /** Cells that are not black fall to one side and keep their order. */
  gravity(parameters) {
    // The grid is turned so that the side is at the bottom, and back again.
    const [there, back] = (
      [
        [0, 0],
        [1, 3],
        [2, 2],
        [3, 1],
      ] as const
    )[parameters.below(4)]!;
    return (random) => {
      const input = scattered(random, colour);
      return { input, output: turned(fallen(turned(input, there)), back) };
    };
  },
  /** The cells of one colour are counted: a row of as many cells of it. */
  count(parameters) {
    const counted = colour(parameters);
    return (random) => {
      const input = scattered(random, (n) => otherColour(n, counted));
      const wanted = 1 + random.below(8);
      for (let placed = 0; placed < wanted;) {
        const cell = random.below(input.cells.length);
        if (input.cells[cell] === counted) continue;
        input.cells[cell] = counted;
        placed++;
      }
      return { input, output: { rows: 1, columns: wanted, cells: new Uint8Array(wanted).fill(counted) } };
    };
  },
  /** The inside of a closed frame is filled with one colour. */
  flood(parameters) {
    const filling = colour(parameters);
    return (random) => {
      const [rows, columns] = [side(random) + 1, side(random) + 1];
      const cells = new Uint8Array(rows * columns);
      const wall = otherColour(random, filling);
      const [height, width] = [3 + random.below(rows - 2), 3 + random.below(columns - 2)];
      const [top, left] = [random.below(rows - height + 1), random.below(columns - width + 1)];
      const output = cells.slice();
      for (let r = 0; r < height; r++)
        for (let c = 0; c < width; c++) {
          const cell = (top + r) * columns + left + c;
          const inside = r > 0 && r < height - 1 && c > 0 && c < width - 1;
          if (!inside) cells[cell] = wall;
          output[cell] = inside ? filling : wall;
        }
      return { input: { rows, columns, cells }, output: { rows, columns, cells: output } };
    };
  },
};

/** A colour other than black. */
function colour(random: HostRandom): number {
  return 1 + random.below(9);
}

/** A colour other than black and this one. */
function otherColour(random: HostRandom, not: number): number {
  const drawn = 1 + random.below(8);
  return drawn < not ? drawn : drawn + 1;
}

function side(random: HostRandom): number {
  return 3 + random.below(5);
}

/** A grid in which about 2 of 5 cells have a colour. */
function scattered(random: HostRandom, of: (random: HostRandom) => number): ArcGrid {
  const [rows, columns] = [side(random), side(random)];
  const cells = Uint8Array.from({ length: rows * columns }, () => (random.below(5) < 2 ? of(random) : 0));
  return { rows, columns, cells };
}

/** The grid with the colours of each column at the bottom. */
function fallen({ rows, columns, cells }: ArcGrid): ArcGrid {
  const output = new Uint8Array(cells.length);
  for (let c = 0; c < columns; c++) {
    let bottom = rows - 1;
    for (let r = rows - 1; r >= 0; r--) {
      const found = cells[r * columns + c]!;
      if (found !== 0) output[bottom-- * columns + c] = found;
    }
  }
  return { rows, columns, cells: output };
}

/** Three of every 8 tasks are tested by their tests; of the others, tests are learned too. */
export function arcToySources(tasks: readonly ArcTask[]): { learned: ArcTask[]; tested: ArcTask[] } {
  const isTested = (i: number): boolean => i % 8 < 3;
  return { learned: tasks.filter((_, i) => !isTested(i)), tested: tasks.filter((_, i) => isTested(i)) };
}
