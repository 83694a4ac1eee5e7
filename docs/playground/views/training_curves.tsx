/** The curves of the run under way. */
import { curves, curvesChanged } from "../state/curves.js";
import { run, validation } from "../state/page_state.js";
import { formatPercent } from "../../../hrm/training/statistics.js";
import { Chart } from "./chart.js";

/** The share of the past in a smoothed point. */
const SMOOTHING = 0.85;

/** A curve with each point drawn towards those before it. */
export function smoothed(values: readonly number[]): number[] {
  let mean = NaN;
  return values.map(
    (value) => (mean = Number.isNaN(mean) ? value : SMOOTHING * mean + (1 - SMOOTHING) * value),
  );
}

export function TrainingCurves() {
  curvesChanged.value;
  const { training, looks } = curves.current;
  const newest = validation.value?.scores;
  return (
    <section class="panel" id="training" aria-labelledby="training-title">
      <h2 id="training-title">What your run has learned so far</h2>
      {training.step.length === 0 ? (
        <p class="soft">Nothing yet. The curves begin once you press Start training.</p>
      ) : (
        <div class="pair">
          <div>
            <h3>Error on the puzzles that it trains on</h3>
            <p class="soft">
              The paper calls it the loss: lower is better. Thin: each report; thick: smoothed.
            </p>
            <Chart
              id="loss-chart"
              label={`Loss over steps; now ${training.loss.at(-1)!.toPrecision(3)}`}
              data={[training.step, training.loss, smoothed(training.loss)]}
              series={[
                { label: "loss", color: "--raw", width: 1 },
                { label: "smoothed", color: "--loss" },
              ]}
              format={(v) => v.toPrecision(3)}
              xLabel="step"
              sync="training"
            />
          </div>
          <div>
            <h3>Puzzles that it never trains on</h3>
            <p class="soft">
              Cells fill up long before a whole puzzle is right. Target: {formatPercent(run.value.target)}{" "}
              whole puzzles.
            </p>
            <Chart
              id="accuracy-chart"
              label={
                newest
                  ? `Cells right ${formatPercent(newest.cellAccuracy)}, puzzles solved ${formatPercent(newest.exactAccuracy)}`
                  : "No look at unseen puzzles yet"
              }
              data={[looks.step, looks.cells, looks.exact]}
              series={[
                { label: "cells right", color: "--cells", points: true, dash: [5, 3] },
                { label: "puzzles solved", color: "--exact", points: true },
              ]}
              range={[0, 1]}
              format={(v) => `${(100 * v).toFixed(0)}%`}
              xLabel="step"
              sync="training"
            />
          </div>
        </div>
      )}
    </section>
  );
}
