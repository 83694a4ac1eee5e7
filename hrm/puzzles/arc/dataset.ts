/**
 * ARC tasks as a data set in the official layout (build_arc_dataset.py): a group holds a task and its images, every one of
 * them is a puzzle with its own identifier, and its pairs are the examples. The rules are the official ones; the random
 * numbers are not numpy's.
 */
import { UsageError } from "../../../engine/errors.js";
import { IGNORE_LABEL, type PuzzleSet } from "../puzzle_set.js";
import { hostRandom, type HostRandom } from "../random.js";
import { ARC, gridKey, toCanvas, type ArcPair, type ArcTask } from "./grid.js";
import { imageName, imageOfPair, pairClass, randomImage } from "./image.js";

/** Draws per wanted image before a task counts as having no more different images (the official factor). */
const TRIES = 5;
/** The most cells of a data set; inputs and labels take 4 bytes each on the host. */
const MOST_CELLS = 2 ** 28;

/** The tasks of a data set. */
export interface ArcSources {
  /** Tasks of which every pair is learned. */
  readonly learned: readonly ArcTask[];
  /** Tasks of which the demonstrations are learned and the tests are tested. */
  readonly tested: readonly ArcTask[];
}

/** How a data set is made. */
export interface ArcDatasetOptions {
  /** Images of each task, besides the task itself. */
  readonly augmentations: number;
  /** Decides images and translations. */
  readonly seed: number;
  /** Side of the canvas; default 30. Tasks with larger grids are left out. */
  readonly side?: number;
}

/** A data set with what was left out of it. */
export interface ArcDataset {
  /** What is learned. */
  readonly train: PuzzleSet;
  /** The tests of all images of the tested tasks, not translated; null if no task is tested. */
  readonly test: PuzzleSet | null;
  /** The name of each puzzle identifier; 0 is `<blank>`. */
  readonly identifiers: readonly string[];
  /** Tasks whose grids are larger than the canvas. */
  readonly tooLarge: readonly string[];
  /** Pairs that were not learned because they equal a test up to rotation, reflection and colours. */
  readonly leaks: number;
  /** Tasks of which nothing was left to learn; they have no identifier and are not tested. */
  readonly empty: readonly string[];
  /** Tasks with fewer different images than wanted. */
  readonly fewImages: number;
}

/** A task as it is used: what is learned of it, and what is tested. */
interface Prepared {
  readonly id: string;
  readonly learned: readonly ArcPair[];
  readonly tested: readonly ArcPair[];
}

/**
 * Makes the data set. A test never reaches training, not even as an image: pairs to learn that equal a test up to rotation,
 * reflection and colours are left out and counted.
 * @throws UsageError if two tasks share a name, if nothing is left to learn, or if the set would be too large for the host
 */
export function buildArcDataset(sources: ArcSources, options: ArcDatasetOptions): ArcDataset {
  const { side = ARC.side, augmentations, seed } = options;
  const { tasks, ...left } = prepared(sources, side);
  if (tasks.length === 0)
    throw new UsageError(
      `buildArcDataset: got ${sources.learned.length + sources.tested.length} tasks, of which nothing is left to learn; expected tasks with grids of at most ${side} x ${side}.`,
    );
  requireFit(tasks, augmentations, side);
  const identifiers = ["<blank>"];
  let fewImages = 0;
  const groups = tasks.map((task): Prepared[] => {
    const group = imagesOf(task, augmentations, hostRandom(seed, `arc images ${task.id}`));
    fewImages += Number(group.length < augmentations + 1);
    for (const { id } of group) identifiers.push(id);
    return group;
  });
  const first = new Map(identifiers.map((name, identifier) => [name, identifier]));
  const identifierOf = ({ id }: Prepared): number => first.get(id)!;
  const train = setOf(
    groups,
    side,
    identifierOf,
    (puzzle, random) => {
      // One example of each puzzle stays at the corner, where the tests are.
      const still = random.below(puzzle.learned.length);
      return puzzle.learned.map((pair, i) => canvases(pair, side, i === still ? null : random));
    },
    hostRandom(seed, "arc translations"),
  );
  const testedGroups = groups.filter(([task]) => task!.tested.length > 0);
  const test =
    testedGroups.length === 0
      ? null
      : setOf(
          testedGroups,
          side,
          identifierOf,
          (puzzle) => puzzle.tested.map((pair) => canvases(pair, side, null)),
          hostRandom(seed),
        );
  return { train, test, identifiers, fewImages, ...left };
}

/** The tasks without pairs that equal a test, and without tasks that do not fit. */
function prepared({ learned, tested }: ArcSources, side: number) {
  const known = new Set<string>();
  for (const { id } of [...learned, ...tested]) {
    if (known.has(id))
      throw new UsageError(
        `buildArcDataset: got two tasks with the name ${JSON.stringify(id)}; expected every task once.`,
      );
    known.add(id);
  }
  const fits = ({ train, test }: ArcTask): boolean =>
    [...train, ...test].every(({ input, output }) =>
      [input, output].every((grid) => !grid || Math.max(grid.rows, grid.columns) <= side),
    );
  const tests = new Set(tested.flatMap(({ test }) => test.map(pairClass)));
  const tasks: Prepared[] = [];
  const [tooLarge, empty]: [string[], string[]] = [[], []];
  let leaks = 0;
  const add = (task: ArcTask, pairs: readonly ArcPair[], test: readonly ArcPair[]): void => {
    if (!fits(task)) {
      tooLarge.push(task.id);
      return;
    }
    const complete = pairs.filter(({ output }) => output !== null);
    const kept = complete.filter((pair) => !tests.has(pairClass(pair)));
    leaks += complete.length - kept.length;
    if (kept.length === 0) empty.push(task.id);
    else tasks.push({ id: task.id, learned: kept, tested: test });
  };
  for (const task of learned) add(task, [...task.train, ...task.test], []);
  for (const task of tested) add(task, task.train, task.test);
  return { tasks, tooLarge, leaks, empty };
}

/** @throws UsageError if the canvases of all images take more memory than a host has to spare */
function requireFit(tasks: readonly Prepared[], augmentations: number, side: number): void {
  const pairs = tasks.reduce((sum, { learned, tested }) => sum + learned.length + tested.length, 0);
  const cells = pairs * (augmentations + 1) * side * side;
  if (cells <= MOST_CELLS) return;
  const most = Math.floor(MOST_CELLS / (pairs * side * side)) - 1;
  throw new UsageError(
    `buildArcDataset: got ${pairs} pairs with ${augmentations} images each, which take ${8 * cells} bytes; expected at most ${8 * MOST_CELLS}: ` +
      (most >= 0 ? `choose at most ${most} images, or fewer tasks.` : "choose fewer tasks."),
  );
}

/** The task, and different images of it, as many as wanted if there are so many. */
function imagesOf(task: Prepared, wanted: number, random: HostRandom): Prepared[] {
  const group = [task];
  const seen = new Set([contentOf(task)]);
  for (let tries = 0; tries < TRIES * wanted && group.length < wanted + 1; tries++) {
    const image = randomImage(random);
    const of = (pairs: readonly ArcPair[]) => pairs.map((pair) => imageOfPair(pair, image));
    const puzzle = { id: imageName(task.id, image), learned: of(task.learned), tested: of(task.tested) };
    const content = contentOf(puzzle);
    if (seen.has(content)) continue;
    seen.add(content);
    group.push(puzzle);
  }
  return group;
}

/** A text that is equal for puzzles with the same pairs in any order. */
function contentOf({ learned, tested }: Prepared): string {
  return [...learned, ...tested]
    .map(({ input, output }) => `${gridKey(input)}|${output ? gridKey(output) : ""}`)
    .sort()
    .join("&");
}

interface Canvases {
  readonly input: Int32Array;
  readonly label: Int32Array;
}

/** Both grids of a pair at the same place: a random one, or the corner. An unknown output has no labels. */
function canvases({ input, output }: ArcPair, side: number, random: HostRandom | null): Canvases {
  const room = (of: "rows" | "columns"): number => side - Math.max(input[of], output?.[of] ?? 0) + 1;
  const [row, column] = random ? [random.below(room("rows")), random.below(room("columns"))] : [0, 0];
  const ignored = (token: number): number => (token === ARC.PAD ? IGNORE_LABEL : token);
  return {
    input: toCanvas(input, side, row, column),
    label: output
      ? toCanvas(output, side, row, column).map(ignored)
      : new Int32Array(side * side).fill(IGNORE_LABEL),
  };
}

function setOf(
  groups: readonly (readonly Prepared[])[],
  side: number,
  identifierOf: (puzzle: Prepared) => number,
  examplesOf: (puzzle: Prepared, random: HostRandom) => readonly Canvases[],
  random: HostRandom,
): PuzzleSet {
  const length = side * side;
  const [puzzleIndices, groupIndices, identifiers]: number[][] = [[0], [0], []];
  const rows: Canvases[] = [];
  for (const group of groups) {
    for (const puzzle of group) {
      const examples = examplesOf(puzzle, random);
      for (const example of examples) {
        rows.push(example);
        identifiers!.push(identifierOf(puzzle));
      }
      puzzleIndices!.push(rows.length);
    }
    groupIndices!.push(puzzleIndices!.length - 1);
  }
  const inputs = new Int32Array(rows.length * length);
  const labels = new Int32Array(rows.length * length);
  rows.forEach(({ input, label }, i) => {
    inputs.set(input, i * length);
    labels.set(label, i * length);
  });
  return {
    count: rows.length,
    length,
    inputs,
    labels,
    identifiers: Int32Array.from(identifiers!),
    groups: { puzzleIndices: Int32Array.from(puzzleIndices!), groupIndices: Int32Array.from(groupIndices!) },
  };
}
