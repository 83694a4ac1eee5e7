/** Sudoku grids as the page draws them: the puzzle, then the answer after each segment. */
import type { SolvedSegment } from "../../hrm/training/evaluation.js";
import { isDigit, sudokuUnits, type SudokuSize } from "../../hrm/puzzles/tasks/sudoku.js";
import type { Task } from "../../hrm/puzzles/tasks/task.js";
import { createResidualBars, type ResidualBars } from "./residual_bars.js";

/** What a solution report holds. */
export interface Solution {
  readonly inputs: Int32Array;
  readonly segments: readonly SolvedSegment[];
}

/** Draws solutions into an element. */
export interface Board {
  draw(solution: Solution): void;
}

/** A board for a task and a model with this many L updates to an H update; grids keep their elements, so that only what changes is repainted. */
export function createBoard(container: HTMLElement, task: Task, lCycles: number): Board {
  const size = task.rows as SudokuSize;
  container.replaceChildren();
  const puzzle = createGrid(container, size);
  const answers: { readonly grid: Grid; readonly bars: ResidualBars }[] = [];
  const answer = (index: number): (typeof answers)[number] => {
    while (answers.length <= index) {
      const grid = createGrid(container, size);
      answers.push({ grid, bars: createResidualBars(grid.figure, lCycles) });
    }
    return answers[index]!;
  };
  puzzle.figure.append(residualKey());
  return {
    draw({ inputs, segments }) {
      puzzle.draw({ title: "Puzzle", note: "", cells: inputs, inputs, violations: [], changed: [] });
      const largest = Math.max(...segments.flatMap(({ residuals }) => [...residuals]));
      segments.forEach(({ prediction, qHalt, residuals }, i) => {
        const before = segments[i - 1]?.prediction ?? inputs;
        const { solved, violations } = task.check(inputs, prediction);
        const { grid, bars } = answer(i);
        bars.draw(residuals, largest);
        grid.draw({
          title: `Segment ${i + 1}`,
          note: `q_halt ${qHalt < 0 ? "−" : "+"}${Math.abs(qHalt).toFixed(1)}`,
          cells: prediction,
          inputs,
          violations,
          changed: Array.from(prediction.keys()).filter((cell) => prediction[cell] !== before[cell]),
          ...(solved !== null && { solved }),
          sure: qHalt > 0,
        });
      });
      while (answers.length > segments.length) answers.pop()!.grid.figure.remove();
    },
  };
}

interface GridState {
  readonly title: string;
  /** What the model thinks of the answer. */
  readonly note: string;
  readonly cells: Int32Array;
  readonly inputs: Int32Array;
  readonly violations: readonly number[];
  readonly changed: readonly number[];
  readonly solved?: boolean;
  /** The model believes its answer right. */
  readonly sure?: boolean;
}

interface Grid {
  readonly figure: HTMLElement;
  draw(state: GridState): void;
}

function createGrid(container: HTMLElement, size: SudokuSize): Grid {
  const figure = document.createElement("figure");
  const picture = document.createElement("div");
  const caption = document.createElement("figcaption");
  const [title, note] = [document.createElement("span"), document.createElement("span")];
  note.className = "q";
  caption.append(title, note);
  picture.className = "grid";
  picture.setAttribute("role", "img");
  picture.style.setProperty("--size", String(size));
  const boxes = sudokuUnits(size).slice(2 * size);
  const boxOf = (cell: number): number => boxes.findIndex((box) => box.includes(cell));
  const cells = Array.from({ length: size * size }, (_, cell) => {
    const element = document.createElement("span");
    const right = (cell + 1) % size === 0 ? "none" : boxOf(cell) === boxOf(cell + 1) ? "thin" : "box";
    const below = cell + size >= size * size ? "none" : boxOf(cell) === boxOf(cell + size) ? "thin" : "box";
    element.dataset["right"] = right;
    element.dataset["below"] = below;
    return element;
  });
  picture.append(...cells);
  figure.append(picture, caption);
  container.append(figure);
  return {
    figure,
    draw(state) {
      const [violations, changed] = [new Set(state.violations), new Set(state.changed)];
      cells.forEach((element, cell) => {
        const token = state.cells[cell]!;
        const kinds = [
          isDigit(state.inputs[cell]!, size) && "given",
          changed.has(cell) && "changed",
          violations.has(cell) && "broken",
        ];
        const className = kinds.filter(Boolean).join(" ");
        const text = isDigit(token, size) ? String(token - 1) : "";
        if (element.className !== className) element.className = className;
        if (element.textContent !== text) element.textContent = text;
      });
      title.textContent = state.title;
      note.textContent = state.note;
      note.classList.toggle("sure", state.sure === true);
      figure.classList.toggle("solved", state.solved === true);
      picture.setAttribute("aria-label", describe(state, size));
    },
  };
}

/** The grid in words: its rows, blanks as dots, and what the rules say. */
function describe({ title, note, cells, violations, solved }: GridState, size: SudokuSize): string {
  const symbols = Array.from(cells, (token) => (isDigit(token, size) ? String(token - 1) : "."));
  const rows = Array.from({ length: size }, (_, row) =>
    symbols.slice(row * size, (row + 1) * size).join(" "),
  );
  const verdict =
    solved === undefined ? "" : solved ? "; solved" : `; ${violations.length} cells break a rule`;
  return `${title}: ${rows.join(", ")}${note && `; ${note}`}${verdict}`;
}

/** What the bars below the answers mean. */
function residualKey(): HTMLElement {
  const key = document.createElement("p");
  key.className = "residual-key";
  const entry = (className: string, text: string): HTMLElement => {
    const item = document.createElement("span");
    item.className = className;
    item.textContent = text;
    return item;
  };
  key.append("How far each update moves ", entry("L", "z_L"), " and ", entry("H", "z_H"));
  return key;
}
