/** Answers to symmetric images of a puzzle, mapped back and voted on. */
import { UsageError } from "../../engine/errors.js";
import { sudokuImage, type Image } from "../puzzles/images_on_host.js";
import type { PuzzleSet } from "../puzzles/puzzle_set.js";
import { hostRandom } from "../puzzles/random.js";
import { dihedralSources, type Symmetry } from "../puzzles/tasks/symmetry.js";
import { finishedRows, takeAnswers, type Answers } from "./answers.js";

/**
 * `count` images of every puzzle under a symmetry, the first of which is the puzzle itself: those of a square in a fixed order,
 * of which there are 8, and random ones of a Sudoku, no two of them alike.
 * @throws UsageError if there are not so many
 */
export function imagesOf(symmetry: Symmetry, count: number, seed: number): Image[] {
  if (symmetry.kind === "dihedral") {
    const sources = dihedralSources(symmetry.side);
    if (count > sources.length)
      throw new UsageError(
        `imagesOf: got ${count} images; expected at most ${sources.length}, those of a square.`,
      );
    return sources.slice(0, count).map((source) => ({ source, tokens: null }));
  }
  const { size } = symmetry;
  const random = hostRandom(seed, "votes");
  const self: Image = { source: [...new Array(size * size).keys()], tokens: [...new Array(size + 2).keys()] };
  const images = new Map([[keyOf(self), self]]);
  // Draws that were drawn before do not count.
  for (let draw = 0; images.size < count && draw < 100 * count; draw++) {
    const image = sudokuImage(symmetry, random);
    images.set(keyOf(image), image);
  }
  if (images.size < count)
    throw new UsageError(`imagesOf: got ${count} images; expected at most ${images.size} for this Sudoku.`);
  return [...images.values()];
}

const keyOf = ({ source, tokens }: Image): string =>
  `${Array.from(source).join()} ${Array.from(tokens ?? []).join()}`;

/** The image of cells; values below 0, which label nothing, stay. */
export function imageOf(cells: Int32Array, { source, tokens }: Image): Int32Array {
  return cells.map((_, to) => {
    const value = cells[source[to]!]!;
    return value < 0 ? value : (tokens?.[value] ?? value);
  });
}

/** The cells whose image these are. */
export function preimageOf(cells: Int32Array, { source, tokens }: Image): Int32Array {
  const before = new Int32Array(cells.length);
  const back = tokens && Array.from(tokens, (_, token) => Array.from(tokens).indexOf(token));
  cells.forEach((value, from) => {
    before[source[from]!] = value < 0 ? value : (back?.[value] ?? value);
  });
  return before;
}

/** Every puzzle by all images, those of a puzzle next to each other. */
export function withAllImages(set: PuzzleSet, images: readonly Image[]): PuzzleSet {
  const { count, length } = set;
  const all = (from: Int32Array): Int32Array => {
    const to = new Int32Array(count * images.length * length);
    for (let row = 0; row < count; row++)
      images.forEach((image, k) =>
        to.set(
          imageOf(from.subarray(row * length, (row + 1) * length), image),
          (row * images.length + k) * length,
        ),
      );
    return to;
  };
  return {
    ...{ count: count * images.length, length, inputs: all(set.inputs), labels: all(set.labels) },
    identifiers: Int32Array.from(
      { length: count * images.length },
      (_, row) => set.identifiers[Math.floor(row / images.length)]!,
    ),
  };
}

/** Answers of which one was chosen for each puzzle. */
export interface ChosenAnswers {
  /** Rows of the puzzles, all of whose images and tries had stopped, ascending. */
  readonly rows: readonly number[];
  /** The chosen answers, mapped back, with what the model said of the image and the try that gave them. */
  readonly answers: Answers;
  /** The answers of the puzzles themselves, at the first try. */
  readonly first: Answers;
  /** Mean share of the images that gave the chosen answer. */
  readonly agreement: number;
}

/**
 * Chooses among the answers to `images.length` images of every puzzle, `tries` of each image, in this order: of the tries of an
 * image the one whose answer has the largest q_halt (arXiv 2605.19943), then the answer that most images have once it is
 * mapped back, and among equal numbers the one with the larger mean of sigmoid(q_halt).
 */
export function chooseAnswers(all: Answers, images: readonly Image[], tries: number): ChosenAnswers {
  const each = images.length * tries;
  const stopped = new Uint8Array(all.puzzles);
  for (const row of finishedRows(all)) stopped[row] = 1;
  const rows = [...new Array(all.puzzles / each).keys()].filter((puzzle) =>
    stopped.subarray(puzzle * each, (puzzle + 1) * each).every((one) => one === 1),
  );
  const q = (row: number): number => confidence(all, row);
  const length = all.tokens.length / all.puzzles;
  let agreed = 0;
  const chosen = rows.map((puzzle) => {
    const answers = new Map<string, { tokens: Int32Array; row: number; votes: number; sum: number }>();
    images.forEach((image, k) => {
      const at = (puzzle * images.length + k) * tries;
      let row = at;
      for (let other = at + 1; other < at + tries; other++) if (q(other) > q(row)) row = other;
      const tokens = preimageOf(all.tokens.subarray(row * length, (row + 1) * length), image);
      const known = answers.get(tokens.join()) ?? { tokens, row, votes: 0, sum: 0 };
      known.votes++;
      known.sum += 1 / (1 + Math.exp(-q(row)));
      if (q(row) > q(known.row)) known.row = row;
      answers.set(tokens.join(), known);
    });
    const [best] = [...answers.values()].sort((a, b) => b.votes - a.votes || b.sum - a.sum);
    agreed += best!.votes / images.length;
    return best!;
  });
  const answers = takeAnswers(
    all,
    chosen.map(({ row }) => row),
  );
  chosen.forEach(({ tokens }, i) => answers.tokens.set(tokens, i * length));
  const first = takeAnswers(
    all,
    rows.map((puzzle) => puzzle * each),
  );
  return { rows, answers, first, agreement: agreed / rows.length };
}

/** q_halt of a try's answer. An answer of numbers that are not finite has the least. */
const confidence = ({ qAnswer, lost }: Answers, row: number): number =>
  lost[row] || Number.isNaN(qAnswer[row]) ? -Infinity : qAnswer[row]!;
