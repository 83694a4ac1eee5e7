/** The named shapes: HRM's layer at several sizes. */

/** Sizes of a transformer layer as HRM has it. */
export interface ModelShape {
  readonly name: string;
  /** B: rows of the batch. */
  readonly batch: number;
  /** S: positions, with the puzzle prefix. */
  readonly length: number;
  /** D */
  readonly width: number;
  readonly heads: number;
  /** I: inner size of SwiGLU. */
  readonly inner: number;
  /** V */
  readonly classes: number;
  readonly quick: boolean;
}

/** `official` also at sizes that a micro-batch has. */
export const MODEL_SHAPES: readonly ModelShape[] = [
  { name: "tiny32", batch: 16, length: 16, width: 32, heads: 4, inner: 96, classes: 6, quick: true },
  { name: "tiny64", batch: 16, length: 16, width: 64, heads: 4, inner: 256, classes: 6, quick: true },
  { name: "small", batch: 32, length: 81, width: 128, heads: 4, inner: 512, classes: 11, quick: true },
  {
    name: "official/32",
    batch: 32,
    length: 82,
    width: 512,
    heads: 8,
    inner: 1536,
    classes: 11,
    quick: false,
  },
  {
    name: "official/96",
    batch: 96,
    length: 82,
    width: 512,
    heads: 8,
    inner: 1536,
    classes: 11,
    quick: false,
  },
  { name: "official", batch: 384, length: 82, width: 512, heads: 8, inner: 1536, classes: 11, quick: false },
];
