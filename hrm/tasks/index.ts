/** Puzzle tasks: rules, encoding, text, and data sets. */
export { hostRandom, shuffle, type HostRandom } from "./random.js";
export { BLANK, digitToken, isDigit, sudokuTask, sudokuUnits, type SudokuSize } from "./sudoku.js";
export { sudoku4Grids, sudoku4Splits, type Sudoku4SplitsOptions } from "./sudoku4.js";
export {
  IGNORE_LABEL,
  PuzzleError,
  type PuzzleSet,
  type PuzzleSplits,
  type RenderOptions,
  type Task,
  type Verdict,
} from "./task.js";
export { renderSideBySide, type SideBySideOptions } from "./text.js";
