/** A solved puzzle as text: the givens, then the grid after each segment. */
import type { SolvedSegment } from "../../training/evaluation.js";
import { judge } from "../../puzzles/tasks/judgement.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { renderSideBySide } from "../../puzzles/tasks/text.js";

/** A puzzle and the answers of a model. */
export interface Solution {
  readonly task: Task;
  /** Tokens, [length]. */
  readonly inputs: Int32Array;
  /** The right answer if it is known, [length]; negative tokens are not compared. */
  readonly label?: Int32Array | null;
  readonly segments: readonly SolvedSegment[];
}

/** Renders the grids side by side, with wrong cells in red and the q_halt of the model, and then a judgement of the last answer. */
export function renderSolution({ task, inputs, label = null, segments }: Solution, color: boolean): string {
  const judged = segments.map(({ prediction }) => judge(task, inputs, prediction, label));
  const grids = segments.map(({ prediction }, i) =>
    task.renderText(prediction, { input: inputs, violations: judged[i]!.wrong, color }),
  );
  const titles = segments.map(({ qHalt }, i) => `${i + 1}: q ${qHalt.toFixed(1)}`);
  const verdict = judged.at(-1)?.text ?? "Not solved: no segment ran.";
  return `${renderSideBySide([task.renderText(inputs, { input: inputs, color }), ...grids], ["puzzle", ...titles], { columns: 100 })}\n\n${verdict}`;
}
