/** The visitor's own puzzle: changes with undo and redo, and what is said of it. */
import { computed, signal } from "@preact/signals";
import { PuzzleError } from "../../../hrm/puzzles/tasks/task.js";
import { puzzle, task } from "../state/page_state.js";
import { show, showHeld } from "../state/thinking.js";
import { changed, covers, emptyPuzzle, strokeToken, toolsOf } from "./cells.js";
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
/** What the pointer draws into a maze; null for its first tool, walls. */
export const chosenTool = signal<number | null>(null);
/** What the stroke under way draws, and the version that it began from. */
let stroke = { token: 0, from: 0 };
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

/** @param at the version that the next one follows: the one before the present for a stroke that goes on */
function put(next: Int32Array, at = edit.value!.at): void {
  const current = edit.value!;
  const versions = [...current.versions.slice(0, at + 1), next];
  edit.value = { ...current, versions, at: at + 1 };
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

/** The tool that draws. */
export const drawingTool = (): number => chosenTool.value ?? toolsOf(task.value!)[0]!.token;

/** Draws the first cell of a stroke. Pressing a wall with the wall tool opens it. */
export function beginStroke(cell: number): void {
  const cells = editedCells.value;
  if (!cells) return;
  stroke = { token: strokeToken(cells, cell, drawingTool()), from: edit.value!.at };
  drawCell(cell);
}

/** Goes on with a stroke; undo takes the whole stroke back. Walls do not cover the start and the goal. */
export function drawCell(cell: number): void {
  const cells = editedCells.value;
  const { token, from } = stroke;
  if (!cells || !task.value || cells[cell] === token || covers(token, cells[cell]!)) return;
  chosenCell.value = cell;
  put(changed(task.value, cells, cell, token), from);
}

/** Begins from an empty puzzle. */
export function clearPuzzle(): void {
  if (task.value) put(emptyPuzzle(task.value));
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
