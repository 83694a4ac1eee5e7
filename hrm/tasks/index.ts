/** Puzzle tasks: rules, encoding, text, pictures, and data sets. */
export {
  majorityOfBlanks,
  puzzleSet,
  takePuzzles,
  type PuzzleGroups,
  type PuzzleRecord,
} from "../puzzles.js";
export {
  countObeying,
  countSeveralAnswers,
  hasRules,
  type ObeyingAnswers,
  type SeveralAnswers,
} from "./answers.js";
export { untrainedIdentifiers } from "./examples.js";
export { gridTask, type GridTask } from "./grid.js";
export { judge, type Judgement } from "./judgement.js";
export { GOAL, MAZE_SIDES, mazeDistances, mazeTask, OPEN, PATH, START, WALL } from "./maze.js";
export { generateMazes, type MazeGeneratorOptions } from "./maze_generator.js";
export { gridPicture, type PictureCell, type PictureOptions } from "./picture.js";
export { hostRandom, shuffle, type HostRandom } from "./random.js";
export { findTask, gridOfShape, TASK_NAMES, taskOfShape } from "./registry.js";
export { firstBrokenRow, ruleProblem, type BrokenRow } from "./rules.js";
export {
  countShared,
  holdOut,
  splitPuzzles,
  type HeldUnit,
  type HoldOutOptions,
  type SplitBy,
} from "./splits.js";
export {
  BLANK,
  digitToken,
  isDigit,
  SUDOKU_SIZES,
  sudokuSymmetry,
  sudokuTask,
  sudokuUnits,
  type SudokuSize,
} from "./sudoku.js";
export {
  generateSudoku,
  SUDOKU_DIFFICULTIES,
  type SudokuDifficulty,
  type SudokuGeneratorOptions,
} from "./sudoku_generator.js";
export { sudokuSolver, type Singles, type SudokuSearch, type SudokuSolver } from "./sudoku_solver.js";
export { sudoku4Grids, sudoku4Splits, type Sudoku4SplitsOptions } from "./sudoku4.js";
export {
  dihedralClass,
  dihedralSources,
  sudokuClass,
  sudokuInvariant,
  type DihedralSymmetry,
  type SudokuSymmetry,
  type Symmetry,
} from "./symmetry.js";
export {
  IGNORE_LABEL,
  PuzzleError,
  type Highlights,
  type PuzzleSet,
  type PuzzleSplits,
  type RenderOptions,
  type Task,
  type Verdict,
} from "./task.js";
export { renderSideBySide, type SideBySideOptions } from "./text.js";
