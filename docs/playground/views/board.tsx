/** The board: a puzzle, or what the model answers at the update that the scrubber shows. */
import { useRef } from "preact/hooks";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";
import { boxOf, familyOf, isGiven, lookOf } from "../../../hrm/drawing/cells.js";
import { toolsOf } from "../puzzles/cells.js";
import {
  beginStroke,
  chosenCell,
  drawCell,
  editedCells,
  pasteText,
  redo,
  setCell,
  undo,
} from "../puzzles/editor.js";
import { attended, cursor, puzzle, task, thought } from "../state/page_state.js";
import { attend, boardAt } from "../state/thinking.js";

/** What a board shows of one cell. */
export interface CellState {
  readonly token: number;
  readonly given: boolean;
  /** A given that the model answers otherwise. */
  readonly overwritten: boolean;
  readonly changed: boolean;
  readonly broken: boolean;
  /** From 0 to 1; 1 for what the puzzle says. */
  readonly confidence: number;
}

/** The cells at the update under the scrubber; those of the puzzle before the first update. */
export function cellStates(rules: Task, inputs: Int32Array): CellState[] {
  const shown = thought.value;
  const update = cursor.value;
  const fits = shown !== null && update >= 0 && shown.inputs.every((token, cell) => token === inputs[cell]);
  const now = fits ? boardAt(shown.thought, update) : null;
  const before = fits && update > 0 ? boardAt(shown.thought, update - 1).tokens : inputs;
  const tokens = now?.tokens ?? inputs;
  const broken = new Set(rules.check(inputs, tokens).violations);
  return Array.from(inputs, (input, cell) => {
    const token = tokens[cell]!;
    const given = isGiven(rules, input);
    return {
      ...{ token, given, broken: broken.has(cell), overwritten: given && token !== input },
      changed: now !== null && token !== before[cell],
      confidence: now && !given ? now.confidence[cell]! : 1,
    };
  });
}

/** The board in words: its rows, and what breaks a rule. */
export function describe(rules: Task, cells: readonly CellState[]): string {
  const symbol = ({ token }: CellState): string => lookOf(rules, token).text || lookOf(rules, token).spoken;
  const rows = Array.from({ length: rules.rows }, (_, row) =>
    cells
      .slice(row * rules.columns, (row + 1) * rules.columns)
      .map(symbol)
      .join(" "),
  );
  const broken = cells.filter((cell) => cell.broken).length;
  return `${rows.join(", ")}${broken > 0 ? `; ${broken} cells break a rule` : ""}`;
}

/** Where a key moves from a cell; undefined for other keys. */
function moveTo(key: string, cell: number, { rows, columns }: Task): number | undefined {
  const [row, column] = [Math.floor(cell / columns), cell % columns];
  const moves: Readonly<Record<string, number>> = {
    ArrowUp: row > 0 ? cell - columns : cell,
    ArrowDown: row < rows - 1 ? cell + columns : cell,
    ArrowLeft: column > 0 ? cell - 1 : cell,
    ArrowRight: column < columns - 1 ? cell + 1 : cell,
    Home: row * columns,
    End: (row + 1) * columns - 1,
  };
  return moves[key];
}

/** Undo and redo by their usual keys; false for other keys. */
function takeBack(event: KeyboardEvent): boolean {
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey) undo();
  else if (key === "y" || (key === "z" && event.shiftKey)) redo();
  else return false;
  return true;
}

/** What the boundary of a cell is towards another one; null for the edge of the board. */
const boundary = (rules: Task, cell: number, other: number | null): string =>
  other === null ? "none" : boxOf(rules, cell) === boxOf(rules, other) ? "thin" : "box";

/** The cell that keys go on from. */
const focusCell = (own: boolean): number => (own ? chosenCell.value : (attended.value ?? 0));

function Cell({ rules, cell, state, own }: { rules: Task; cell: number; state: CellState; own: boolean }) {
  const { columns, length } = rules;
  const { text, kind, spoken } = lookOf(rules, state.token);
  const classes = [
    "cell",
    kind,
    state.given && "given",
    state.changed && "changed",
    state.broken && "broken",
    state.overwritten && "overwritten",
    own && cell === chosenCell.value && "chosen",
    !own && cell === attended.value && "attended",
  ];
  const words = [
    `row ${Math.floor(cell / columns) + 1}, column ${(cell % columns) + 1}: ${spoken}`,
    state.broken && "breaks a rule",
  ];
  return (
    <div
      class={classes.filter(Boolean).join(" ")}
      data-right={boundary(rules, cell, (cell + 1) % columns === 0 ? null : cell + 1)}
      data-below={boundary(rules, cell, cell + columns >= length ? null : cell + columns)}
      data-cell={cell}
      data-token={state.token}
      style={{ "--confidence": state.confidence.toFixed(3) }}
      role="gridcell"
      tabIndex={cell === focusCell(own) ? 0 : -1}
      onFocus={() => (own ? (chosenCell.value = cell) : attend(cell))}
      aria-label={words.filter(Boolean).join(", ")}
      {...(!own && { onPointerEnter: () => attend(cell) })}
    >
      <span>{text}</span>
      {state.given && kind === "symbol" && <Lock />}
    </div>
  );
}

/** The cell under a pointer; null outside of the board. */
function cellUnder(event: PointerEvent): number | null {
  const under = document.elementFromPoint(event.clientX, event.clientY)?.closest<HTMLElement>("[data-cell]");
  return under ? Number(under.dataset["cell"]) : null;
}

/** A board that the visitor edits: by keys, by pasting, and mazes by drawing. */
function EditedBoard({ rules, cells, label }: { rules: Task; cells: readonly CellState[]; label: string }) {
  const grid = useRef<HTMLDivElement>(null);
  const { rows, columns } = rules;
  const draws = familyOf(rules) === "maze";
  const onKeyDown = (event: KeyboardEvent): void => {
    const cell = Number((event.target as HTMLElement).dataset["cell"]);
    if (Number.isNaN(cell)) return;
    if (event.ctrlKey || event.metaKey) {
      if (takeBack(event)) event.preventDefault();
      return;
    }
    const to = moveTo(event.key, cell, rules);
    const tool = toolsOf(rules).find(({ keys }) => keys.includes(event.key));
    if (to !== undefined) grid.current?.querySelector<HTMLElement>(`[data-cell="${to}"]`)?.focus();
    else if (tool) setCell(cell, tool.token);
    else return;
    event.preventDefault();
  };
  const draw = (event: PointerEvent): void => {
    const cell = cellUnder(event);
    if (cell !== null) drawCell(cell);
  };
  return (
    <div
      class={draws ? "board own drawn" : "board own"}
      id="board"
      role="grid"
      aria-label={label}
      style={{ "--rows": rows, "--columns": columns }}
      ref={grid}
      onKeyDown={onKeyDown}
      onPaste={(event) => {
        event.preventDefault();
        pasteText(event.clipboardData?.getData("text") ?? "");
      }}
      {...(draws && {
        onPointerDown: (event: PointerEvent) => {
          const cell = cellUnder(event);
          if (cell === null || event.button !== 0) return;
          beginStroke(cell);
        },
        onPointerMove: (event: PointerEvent) => event.buttons === 1 && draw(event),
      })}
    >
      <Rows {...{ rules, cells }} own />
    </div>
  );
}

export function Board() {
  const rules = task.value;
  const own = editedCells.value;
  const inputs = own ?? puzzle.value?.inputs;
  if (!rules || !inputs || inputs.length !== rules.length) return <EmptyBoard />;
  const cells = cellStates(rules, inputs);
  const label = `${own ? "Your puzzle" : "Puzzle"}: ${describe(rules, cells)}`;
  if (own) return <EditedBoard {...{ rules, cells, label }} />;
  return <WatchedBoard {...{ rules, cells, label }} />;
}

/** A board to look at; its cells take the focus one at a time, for those who want to know where a cell attends. */
function WatchedBoard({ rules, cells, label }: { rules: Task; cells: readonly CellState[]; label: string }) {
  const grid = useRef<HTMLDivElement>(null);
  return (
    <div
      class="board"
      id="board"
      role="grid"
      aria-readonly="true"
      aria-label={label}
      style={{ "--rows": rules.rows, "--columns": rules.columns }}
      ref={grid}
      onKeyDown={(event) => {
        const to = moveTo(event.key, Number((event.target as HTMLElement).dataset["cell"]), rules);
        if (to === undefined) return;
        grid.current?.querySelector<HTMLElement>(`[data-cell="${to}"]`)?.focus();
        event.preventDefault();
      }}
    >
      <Rows {...{ rules, cells }} own={false} />
    </div>
  );
}

function Rows({ rules, cells, own }: { rules: Task; cells: readonly CellState[]; own: boolean }) {
  const { rows, columns } = rules;
  return (
    <>
      {Array.from({ length: rows }, (_, row) => (
        <div role="row" key={row}>
          {Array.from({ length: columns }, (_, column) => {
            const cell = row * columns + column;
            return <Cell key={cell} {...{ rules, cell, state: cells[cell]!, own }} />;
          })}
        </div>
      ))}
    </>
  );
}

/** Keeps the place of the board before there is a puzzle, so that nothing jumps. */
function EmptyBoard() {
  return (
    <div class="board empty" id="board">
      <p>Opening a small model…</p>
    </div>
  );
}

/** The mark of a cell that the puzzle gives. */
function Lock() {
  return (
    <svg class="lock" viewBox="0 0 10 12" aria-hidden="true">
      <path d="M1 5.5h8V11H1zM3 5.5V3.6a2 2 0 0 1 4 0v1.9" />
    </svg>
  );
}
