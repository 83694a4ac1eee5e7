/** A small curve of the share of unseen puzzles solved, beside the sentence that says it. */
import { curves, curvesChanged } from "../state/curves.js";
import { watched } from "../state/page_state.js";

/** The points of the curve in a picture of 100 by 30: steps from left to right, and shares from the bottom to the top. */
export function sparklinePoints(step: readonly number[], share: readonly number[]): string {
  const last = step.at(-1)!;
  return step
    .map((s, i) => `${((96 * s) / last + 2).toFixed(1)},${(28 - 24 * share[i]!).toFixed(1)}`)
    .join(" ");
}

export function Sparkline() {
  curvesChanged.value;
  const { step, exact } = curves.current.looks;
  if (watched.value !== "run" || step.length < 2) return null;
  return (
    <svg class="sparkline" viewBox="0 0 100 30" role="img" aria-label="Share of puzzles solved over training">
      <polyline points={sparklinePoints(step, exact)} />
    </svg>
  );
}
