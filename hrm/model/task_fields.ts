/** The fields of the model's configuration that a task decides. */
import type { HrmConfig } from "./config.js";
import type { Task } from "../puzzles/tasks/task.js";

const GRID_FIELDS = ["grid_rows", "grid_columns", "box_rows", "box_columns"] as const;
/** Fields of the model that only the task decides. */
export const TASK_FIELDS = ["seq_len", "vocab_size", ...GRID_FIELDS] as const;
export type TaskField = (typeof TASK_FIELDS)[number];

/** True for a field that says which rows, columns and boxes the cells form. */
export const isGridField = (field: string): boolean => (GRID_FIELDS as readonly string[]).includes(field);

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
