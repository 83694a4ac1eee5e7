/** The board: a puzzle, or what the model answers at the update that the scrubber shows. */
import { useRef } from "preact/hooks";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";
import { boxOf, isGiven, lookOf, toolsOf } from "../puzzles/cells.js";
import { chosenCell, editedCells, pasteText, redo, setCell, undo } from "../puzzles/editor.js";
import { cursor, puzzle, task, thought } from "../state/page_state.js";
import { boardAt } from "../state/thinking.js";

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

export function Board() {
  const grid = useRef<HTMLDivElement>(null);
  const rules = task.value;
  const own = editedCells.value;
  const inputs = own ?? puzzle.value?.inputs;
  if (!rules || !inputs || inputs.length !== rules.length) return <EmptyBoard />;
  const cells = cellStates(rules, inputs);
  const label = `${own ? "Your puzzle" : "Puzzle"}: ${describe(rules, cells)}`;
  const { rows, columns } = rules;

  const focusCell = (cell: number): void =>
    grid.current?.querySelectorAll<HTMLElement>("[role=gridcell]")[cell]?.focus();
  const onKeyDown = (event: KeyboardEvent): void => {
    const cell = Number((event.target as HTMLElement).dataset["cell"]);
    if (!own || Number.isNaN(cell)) return;
    if (event.ctrlKey || event.metaKey) {
      const key = event.key.toLowerCase();
      if (key === "z" && !event.shiftKey) undo();
      else if (key === "y" || (key === "z" && event.shiftKey)) redo();
      else return;
      return event.preventDefault();
    }
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    const moves: Readonly<Record<string, number>> = {
      ArrowUp: row > 0 ? cell - columns : cell,
      ArrowDown: row < rows - 1 ? cell + columns : cell,
      ArrowLeft: column > 0 ? cell - 1 : cell,
      ArrowRight: column < columns - 1 ? cell + 1 : cell,
      Home: row * columns,
      End: (row + 1) * columns - 1,
    };
    const to = moves[event.key];
    const tool = toolsOf(rules).find(({ keys }) => keys.includes(event.key));
    if (to !== undefined) focusCell(to);
    else if (tool) setCell(cell, tool.token);
    else return;
    event.preventDefault();
  };

  const renderCell = (cell: number) => {
    const state = cells[cell]!;
    const { text, kind, spoken } = lookOf(rules, state.token);
    const right =
      (cell + 1) % columns === 0 ? "none" : boxOf(rules, cell) === boxOf(rules, cell + 1) ? "thin" : "box";
    const below =
      cell + columns >= rows * columns
        ? "none"
        : boxOf(rules, cell) === boxOf(rules, cell + columns)
          ? "thin"
          : "box";
    const classes = [
      "cell",
      kind,
      state.given && "given",
      state.changed && "changed",
      state.broken && "broken",
      state.overwritten && "overwritten",
      own && cell === chosenCell.value && "chosen",
    ];
    const words = [
      `row ${Math.floor(cell / columns) + 1}, column ${(cell % columns) + 1}: ${spoken}`,
      state.broken && "breaks a rule",
    ];
    return (
      <div
        key={cell}
        class={classes.filter(Boolean).join(" ")}
        data-right={right}
        data-below={below}
        data-cell={cell}
        data-token={state.token}
        style={{ "--confidence": state.confidence.toFixed(3) }}
        {...(own && {
          role: "gridcell",
          tabIndex: cell === chosenCell.value ? 0 : -1,
          onFocus: () => (chosenCell.value = cell),
          "aria-label": words.filter(Boolean).join(", "),
        })}
      >
        <span>{text}</span>
        {state.given && kind === "symbol" && <Lock />}
      </div>
    );
  };

  const style = { "--rows": rows, "--columns": columns };
  if (!own)
    return (
      <div class="board" id="board" role="img" aria-label={label} style={style}>
        {cells.map((_, cell) => renderCell(cell))}
      </div>
    );
  return (
    <div
      class="board own"
      id="board"
      role="grid"
      aria-label={label}
      style={style}
      ref={grid}
      onKeyDown={onKeyDown}
      onPaste={(event) => {
        event.preventDefault();
        pasteText(event.clipboardData?.getData("text") ?? "");
      }}
    >
      {Array.from({ length: rows }, (_, row) => (
        <div role="row" key={row}>
          {Array.from({ length: columns }, (_, column) => renderCell(row * columns + column))}
        </div>
      ))}
    </div>
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
