/** Rotary tables: the angles by which each position rotates the queries and keys of an attention head. */
import { ropeTables } from "../../kernels/rope.js";
import { blockedLines, characterAngle, charactersOf, type BlockedLines } from "./characters.js";
import { derive, type HrmConfig } from "./config.js";

/** Tables [totalLength, headDim]. Entries d and d + headDim / 2 are equal, since rotate-half rotates them together. */
export interface RotaryAngles {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** Angle by which a line of a grid (a row or a column) rotates pair `pair` of the `pairs` pairs of its axis. */
type LineAngle = (line: number, pair: number, pairs: number) => number;

const byFrequency =
  ({ rope_frequency, rope_theta }: HrmConfig): LineAngle =>
  (line, pair, pairs) =>
    line * rope_frequency * rope_theta ** (-pair / pairs);

/** Divides the pairs equally among the characters. Pairs that are left over are not rotated. */
const byCharacter = (lines: BlockedLines): LineAngle => {
  const characters = charactersOf(lines);
  return (line, pair, pairs) => {
    const character = characters[Math.floor(pair / Math.floor(pairs / characters.length))];
    return character ? characterAngle(character, lines, line) : 0;
  };
};

/**
 * The tables of a configuration; null if its positions are not rotary. D is the head size, n = D / 2 the number of its pairs,
 * f0 is `rope_frequency` and theta is `rope_theta`.
 *
 * - `rope` (Su et al. 2021; official): position t of the whole sequence, prefix included, rotates pair i by
 *   t f0 theta^(-i / n).
 * - `rope2d`: the row rotates the first half of the pairs and the column the second half. Pairs i and n / 2 + i are
 *   rotated by row f_i and column f_i, with f_i = f0 theta^(-2 i / n). Two-dimensional rotary positions are common in
 *   vision transformers (for example Heo et al. 2024, arXiv 2403.13298); the choice of frequencies is this project's.
 * - `rope2d_boxes` (this project's): the halves are rotated by the characters of the groups that the rows (band, row of
 *   the band) and the columns (stack, column of the stack) form, Z3 x Z3 for 9x9 Sudoku. Same row, same column and same
 *   box are then exact peaks of q . k. These tables tell the model the houses of a Sudoku; f0 and theta play no part.
 *
 * Cells of a grid are numbered row by row. The two-dimensional kinds do not rotate the prefix of a puzzle embedding
 * (cosine 1, sine 0). Angles are computed in float64; their cosines and sines are rounded to f32.
 */
export function rotaryAngles(config: HrmConfig): RotaryAngles | null {
  const { pos_encodings: kind, grid_columns: columns, seq_len: cells } = config;
  const { totalLength: length, puzzleLength, headDim } = derive(config);
  if (kind === "learned" || kind === "none" || config.mlp_t) return null;
  if (kind === "rope")
    return ropeTables({ length, headDim, theta: config.rope_theta, frequency: config.rope_frequency });
  const [half, pairs] = [headDim / 2, headDim / 4];
  const { rows, columns: stacks } = blockedLines(config);
  const [ofRow, ofColumn] =
    kind === "rope2d" ? [byFrequency(config), byFrequency(config)] : [byCharacter(rows), byCharacter(stacks)];
  const cos = new Float32Array(length * headDim).fill(1);
  const sin = new Float32Array(length * headDim);
  for (let cell = 0; cell < cells; cell++) {
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    for (let i = 0; i < half; i++) {
      const angle = i < pairs ? ofRow(row, i, pairs) : ofColumn(column, i - pairs, pairs);
      for (const d of [i, i + half]) {
        const at = (puzzleLength + cell) * headDim + d;
        cos[at] = Math.cos(angle);
        sin[at] = Math.sin(angle);
      }
    }
  }
  return { cos, sin };
}
