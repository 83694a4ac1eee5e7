/** The fields of the model's configuration that a task decides. */
import type { HrmConfig, TaskField } from "./config.js";
import type { Task } from "../puzzles/tasks/task.js";

/** Rows and columns of a task's grid and of its boxes; 0 for boxes that it does not have. */
export function gridOf({ rows, columns, symmetry }: Pick<Task, "rows" | "columns" | "symmetry">) {
  const boxes = symmetry?.kind === "sudoku" ? symmetry : { boxRows: 0, boxColumns: 0 };
  return {
    grid_rows: rows,
    grid_columns: columns,
    box_rows: boxes.boxRows,
    box_columns: boxes.boxColumns,
  } satisfies Partial<HrmConfig>;
}

/** Everything that a task decides. */
export function sizesOf(task: Task): Pick<HrmConfig, TaskField | "num_puzzle_identifiers"> {
  const { length, vocabSize, numPuzzleIdentifiers } = task;
  return {
    seq_len: length,
    vocab_size: vocabSize,
    num_puzzle_identifiers: numPuzzleIdentifiers,
    ...gridOf(task),
  };
}
