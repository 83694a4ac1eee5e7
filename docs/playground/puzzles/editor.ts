/** The visitor's own puzzle: changes with undo and redo, and what is said of it. */
import { computed, signal } from "@preact/signals";
import { PuzzleError } from "../../../hrm/puzzles/tasks/task.js";
import { puzzle, task } from "../state/page_state.js";
import { show, showHeld } from "../state/thinking.js";
import { changed } from "./cells.js";
import { judge } from "./judge.js";

interface Edit {
  /** Versions of the puzzle, the oldest first. */
  readonly versions: readonly Int32Array[];
  readonly at: number;
  /** The held-out puzzle that it began from, to go back to. */
  readonly from: number | null;
}

export const edit = signal<Edit | null>(null);
/** The cell that keys and the palette change. */
export const chosenCell = signal(0);
/** Why a text could not be read as a puzzle. */
export const pasteProblem = signal<string | null>(null);

export const editing = computed(() => edit.value !== null);
export const editedCells = computed(() => {
  const current = edit.value;
  return current ? current.versions[current.at]! : null;
});
export const judgement = computed(() => {
  const [cells, rules] = [editedCells.value, task.value];
  return cells && rules && cells.length === rules.length ? judge(rules, cells) : null;
});

/** Begins to edit the puzzle on the board. */
export function beginEdit(): void {
  const shown = puzzle.value;
  if (!shown) return;
  edit.value = { versions: [shown.inputs], at: 0, from: shown.index };
  chosenCell.value = 0;
  pasteProblem.value = null;
}

/** Leaves the own puzzle for the one that it began from. */
export function leaveEdit(): void {
  const from = edit.value?.from ?? 0;
  edit.value = null;
  pasteProblem.value = null;
  showHeld(from);
}

/** Ends editing when another model comes. */
export function dropEdit(): void {
  edit.value = null;
}

function put(next: Int32Array): void {
  const current = edit.value!;
  const versions = [...current.versions.slice(0, current.at + 1), next];
  edit.value = { ...current, versions, at: current.at + 1 };
  pasteProblem.value = null;
  ponder();
}

/** Asks the model about the own puzzle, unless it cannot be solved. */
function ponder(): void {
  const cells = editedCells.value!;
  if (judgement.value?.solvable) show({ inputs: cells, label: null, index: null });
}

/** Puts a token into a cell. */
export function setCell(cell: number, token: number): void {
  const cells = editedCells.value;
  if (!cells || !task.value || cells[cell] === token) return;
  put(changed(task.value, cells, cell, token));
}

export const canUndo = computed(() => (edit.value?.at ?? 0) > 0);
export const canRedo = computed(() => edit.value !== null && edit.value.at < edit.value.versions.length - 1);

export function undo(): void {
  if (!canUndo.value) return;
  edit.value = { ...edit.value!, at: edit.value!.at - 1 };
  ponder();
}

export function redo(): void {
  if (!canRedo.value) return;
  edit.value = { ...edit.value!, at: edit.value!.at + 1 };
  ponder();
}

/** Reads a puzzle as a person types or pastes it. */
export function pasteText(text: string): void {
  if (!task.value) return;
  try {
    const cells = task.value.parse(text);
    if (!edit.value) beginEdit();
    put(cells);
  } catch (error) {
    if (!(error instanceof PuzzleError)) throw error;
    pasteProblem.value = error.message;
  }
}
