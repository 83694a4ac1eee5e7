/** A solved puzzle as text: the givens, then the grid after each segment. */
import type { SolvedSegment } from "../evaluate.js";
import type { Task } from "../tasks/task.js";
import { renderSideBySide } from "../tasks/text.js";

/** Grids side by side, broken rules in red, with what the model thinks of its answer. */
export function renderSolution(
  task: Task,
  inputs: Int32Array,
  segments: readonly SolvedSegment[],
  color: boolean,
): string {
  const grids = segments.map(({ prediction }) =>
    task.renderText(prediction, {
      input: inputs,
      violations: task.check(inputs, prediction).violations,
      color,
    }),
  );
  const titles = segments.map(({ qHalt }, i) => `${i + 1}: q ${qHalt.toFixed(1)}`);
  const last = segments.at(-1);
  const verdict =
    last && task.check(inputs, last.prediction).solved
      ? "Solved: every rule holds."
      : "Not solved: rules are broken or cells are empty.";
  return `${renderSideBySide([task.renderText(inputs, { input: inputs, color }), ...grids], ["puzzle", ...titles], { columns: 100 })}\n\n${verdict}`;
}
