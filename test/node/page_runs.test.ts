/** Runs side by side: aligned columns, and what is exported. */
import { assert } from "chai";
import { aligned } from "../../hrm/drawing/columns.js";
import { pointsOf, runsAsCsv, runsAsJson, smoothed } from "../../docs/playground/runs/columns.js";
import { presetRun } from "../../docs/playground/run_config.js";
import { addTraining, completeCurves, emptyCurves } from "../../docs/playground/state/curves.js";
import { chartAsSvg, roundTicks } from "../../hrm/drawing/chart_svg.js";
import type { StepMetrics } from "../../hrm/training/trainer.js";

const metrics = (step: number): StepMetrics => ({
  ...{ step, lm_loss: 8, q_halt_loss: 2, q_continue_loss: 1, count: 0, accuracy: 0, exact_accuracy: 0 },
  ...{ q_halt_accuracy: 0, steps: 0, gradientNorm: 1, firstNonFinite: 0 },
});

function shown(name: string, steps: readonly number[]) {
  const curves = emptyCurves();
  for (const step of steps) addTraining(curves, [metrics(step)], 16, { seconds: step / 4, lr: step / 1000 });
  curves.looks.step.push(steps.at(-1)!);
  curves.looks.seconds.push(NaN);
  curves.looks.exact.push(0.25);
  curves.looks.cells.push(0.5);
  return { id: name, name, run: presetRun("sudoku4"), curves };
}

describe("runs of the page", () => {
  const runs = [shown("tidy owl", [5, 10]), shown('the "quick", one', [10, 15])];

  it("are aligned over the steps or seconds of all of them", () => {
    const quantity = { of: "training", column: "lr" } as const;
    const over = (axis: "step" | "seconds") => aligned(runs.map((run) => pointsOf(run, quantity, axis)));
    assert.deepEqual(over("step"), [
      [5, 10, 15],
      [0.005, 0.01, null],
      [null, 0.01, 0.015],
    ]);
    assert.deepEqual(over("seconds")[0], [1.25, 2.5, 3.75]);
    // What was not recorded has no place.
    assert.deepEqual(aligned([pointsOf(runs[0]!, { of: "looks", column: "exact" }, "seconds")]), [[], []]);
    assert.deepEqual(smoothed([NaN, 2, NaN, 4]).map(Math.round), [NaN, 2, NaN, 2]);
  });

  it("are exported with every number", () => {
    const lines = runsAsCsv(runs).trimEnd().split("\n");
    assert.equal(lines[0], "run,kind,step,seconds,loss,lm,q,gradient,lr,actSteps,exact,cells");
    assert.equal(lines[1], `tidy owl,training,5,1.25,${8 / 16 + 1.5 / 16},0.5,${3 / 16},1,0.005,,,`);
    assert.equal(lines[3], "tidy owl,looks,10,,,,,,,,0.25,0.5");
    assert.match(lines[4]!, /^"the ""quick"", one",training,10,/);
    assert.lengthOf(lines, 7);
    const [first] = JSON.parse(runsAsJson(runs)) as [
      { name: string; training: { lr: number[] }; looks: object },
    ];
    assert.deepEqual([first.name, first.training.lr], ["tidy owl", [0.005, 0.01]]);
  });

  it("of older pages get the columns that they lack", () => {
    const { training, looks, changes } = completeCurves({ training: { step: [1, 2] } } as never);
    assert.deepEqual([training.lr, looks.step, changes], [[NaN, NaN], [], []]);
  });

  it("are drawn as SVG, each number at its place", () => {
    const svg = chartAsSvg({
      ...{ title: "a < b", xLabel: "step", format: String },
      data: [
        [0, 10],
        [0, 4],
        [null, 2],
      ],
      series: [
        { label: "one", color: "#123456", dash: [2, 3] },
        { label: "two", color: "red" },
      ],
    });
    assert.include(svg, "a &lt; b");
    const points = [...svg.matchAll(/points="([^"]*)"/g)].map(([, text]) => text);
    // The plot is from 70 to 700 and from 350 (zero) up to 40.
    assert.deepEqual(points, ["70.00,350.00 700.00,40.00", "700.00,195.00"]);
    assert.deepEqual(roundTicks(0, 10), [0, 2, 4, 6, 8, 10]);
    assert.deepEqual(roundTicks(3, 3), [3]);
  });
});
