/** Puzzle tasks: rules, encoding, text, pictures, and data sets. */
export {
  majorityOfBlanks,
  puzzleSet,
  takePuzzles,
  type PuzzleGroups,
  type PuzzleRecord,
} from "./puzzle_set.js";
export {
  countObeying,
  countSeveralAnswers,
  hasRules,
  type ObeyingAnswers,
  type SeveralAnswers,
} from "./answers.js";
export { untrainedIdentifiers } from "./examples.js";
export { gridTask, type GridTask } from "./tasks/grid.js";
export { judge, type Judgement } from "./tasks/judgement.js";
export { GOAL, MAZE_SIDES, mazeDistances, mazeTask, OPEN, PATH, START, WALL } from "./tasks/maze.js";
export { generateMazes, type MazeGeneratorOptions } from "./tasks/maze_generator.js";
export { gridPicture, type PictureCell, type PictureOptions } from "./tasks/picture.js";
export { hostRandom, shuffle, type HostRandom } from "./random.js";
export { findTask, gridOfShape, TASK_NAMES, taskOfShape } from "./tasks/registry.js";
export { firstBrokenRow, ruleProblem, type BrokenRow } from "./tasks/rules.js";
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
} from "./tasks/sudoku.js";
export {
  generateSudoku,
  SUDOKU_DIFFICULTIES,
  type SudokuDifficulty,
  type SudokuGeneratorOptions,
} from "./tasks/sudoku_generator.js";
export { sudokuSolver, type Singles, type SudokuSearch, type SudokuSolver } from "./tasks/sudoku_solver.js";
export { sudoku4Grids, sudoku4Splits, type Sudoku4SplitsOptions } from "./tasks/sudoku4.js";
export {
  dihedralClass,
  dihedralSources,
  sudokuClass,
  sudokuInvariant,
  type DihedralSymmetry,
  type SudokuSymmetry,
  type Symmetry,
} from "./tasks/symmetry.js";
export {
  IGNORE_LABEL,
  PuzzleError,
  type Highlights,
  type PuzzleSet,
  type PuzzleSplits,
  type RenderOptions,
  type Task,
  type Verdict,
} from "./tasks/task.js";
export { renderSideBySide, type SideBySideOptions } from "./tasks/text.js";
