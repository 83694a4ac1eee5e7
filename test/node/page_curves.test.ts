/** The curves of the page: means of training metrics in double precision, smoothing, and what a resumed run keeps. */
import { assert } from "chai";
import { addTraining, curvesUntil, emptyCurves } from "../../docs/playground/state/curves.js";
import { smoothed } from "../../docs/playground/runs/columns.js";
import type { StepMetrics } from "../../hrm/training/trainer.js";

const row = (step: number, change: Partial<StepMetrics> = {}): StepMetrics => ({
  ...{ step, lm_loss: 8, q_halt_loss: 2, q_continue_loss: 1, count: 0, accuracy: 0, exact_accuracy: 0 },
  ...{ q_halt_accuracy: 0, steps: 0, gradientNorm: 1, firstNonFinite: 0, ...change },
});

describe("the page's curves", () => {
  it("are means over steps and puzzles, in double precision", () => {
    const curves = emptyCurves();
    const metrics = Array.from({ length: 5 }, (_, i) =>
      row(i + 1, { lm_loss: 10 + i, q_halt_loss: i, gradientNorm: i * i, count: i, steps: 3 * i }),
    );
    addTraining(curves, metrics, 16, { seconds: 2.5, lr: 0.25 });
    const lm = (10 + 11 + 12 + 13 + 14) / 5 / 16;
    const q = (0 + 1 + 2 + 3 + 4 + 5) / 5 / 16;
    const { training } = curves;
    assert.deepEqual([training.step, training.seconds], [[5], [2.5]]);
    assert.closeTo(training.lm[0]!, lm, 1e-12);
    assert.closeTo(training.q[0]!, q, 1e-12);
    assert.closeTo(training.loss[0]!, lm + 0.5 * q, 1e-12);
    assert.deepEqual(training.lr, [0.25]);
    assert.closeTo(training.gradient[0]!, 30 / 5, 1e-12);
    assert.closeTo(training.actSteps[0]!, 30 / 10, 1e-12);
    addTraining(curves, [row(6)], 16, { seconds: 3, lr: 0.5 });
    assert.isNaN(training.actSteps[1], "no puzzle finished");
    addTraining(curves, [], 16, { seconds: 3, lr: 0.5 });
    assert.lengthOf(training.step, 2);
  });

  it("keep their ends when they grow long", () => {
    const curves = emptyCurves();
    for (let step = 1; step <= 5000; step++) addTraining(curves, [row(step)], 16, { seconds: step, lr: 1 });
    const { step } = curves.training;
    assert.isAtMost(step.length, 2001);
    assert.equal(step.at(-1), 5000);
    for (let i = 1; i < step.length; i++) assert.isAbove(step[i]!, step[i - 1]!);
  });

  it("go on from the step of the checkpoint", () => {
    const curves = emptyCurves();
    for (const step of [5, 10, 15]) addTraining(curves, [row(step)], 16, { seconds: step, lr: 1 });
    curves.looks.step.push(10, 15);
    curves.looks.seconds.push(7, 8);
    curves.changes.push({ step: 5, lr: 2, exploration: 0 }, { step: 15, lr: 3, exploration: 1 });
    curves.looks.exact.push(0.1, 0.2);
    curves.looks.cells.push(0.5, 0.6);
    const kept = curvesUntil(curves, 12);
    assert.deepEqual(kept.training.step, [5, 10]);
    assert.deepEqual(kept.looks, { step: [10], seconds: [7], exact: [0.1], cells: [0.5] });
    assert.deepEqual(kept.changes, [{ step: 5, lr: 2, exploration: 0 }]);
    assert.deepEqual(curves.training.step, [5, 10, 15], "the curves before stay as they are");
  });

  it("are smoothed towards the past", () => {
    assert.deepEqual(smoothed([]), []);
    const [a, b, c] = smoothed([1, 2, 4]);
    assert.equal(a, 1);
    assert.closeTo(b!, 0.85 * 1 + 0.15 * 2, 1e-12);
    assert.closeTo(c!, 0.85 * (0.85 + 0.3) + 0.15 * 4, 1e-12);
  });
});
