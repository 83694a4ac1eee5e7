/** The named shapes: HRM's layer at several sizes. */
import { derive } from "../../../hrm/index.js";
import { findPreset } from "../../../hrm/training/presets.js";

/** Sizes of a transformer layer of HRM. */
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

/** The layer of a preset as it is now. */
function presetShape(name: string, preset: string): ModelShape {
  const { model } = findPreset(preset)!;
  const { totalLength: length, innerSize: inner } = derive(model);
  const { batch_size: batch, hidden_size: width, num_heads: heads, vocab_size: classes } = model;
  return { ...{ name, batch, length, width, heads, inner, classes }, quick: true };
}

/** `tiny32` is the layer of `sudoku4`, `tiny64` the layer of `sudoku4-official`. `official` also has the sizes of micro-batches. */
export const MODEL_SHAPES: readonly ModelShape[] = [
  presetShape("tiny32", "sudoku4"),
  presetShape("tiny64", "sudoku4-official"),
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

/** The mixer along the sequence of the official TRM (`mlp_t`), at a batch of 32: 81 cells after a prefix of 16. */
export const TRM_MIXER = { batch: 32, length: 97, width: 512, inner: 512 } as const;
