/** A small curve of the share of unseen puzzles solved, beside the sentence that says it. */
import { curves, curvesChanged } from "../state/curves.js";
import { watched } from "../state/page_state.js";

export function Sparkline() {
  curvesChanged.value;
  const { step, exact } = curves.current.looks;
  if (watched.value !== "run" || step.length < 2) return null;
  const last = step.at(-1)!;
  const points = step.map(
    (s, i) => `${((96 * s) / last + 2).toFixed(1)},${(28 - 24 * exact[i]!).toFixed(1)}`,
  );
  return (
    <svg class="sparkline" viewBox="0 0 100 30" role="img" aria-label="Share of puzzles solved over training">
      <polyline points={points.join(" ")} />
    </svg>
  );
}
