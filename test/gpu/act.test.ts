/** Halting, the Q target, the loss and its metrics against plain JavaScript. */
import { assert } from "chai";
import { compile, f32, i32, type Tensor } from "../../engine/index.js";
import {
  actLoss,
  continueTarget,
  decideHalting,
  IGNORE_LABEL,
  METRICS,
  minimumHaltSteps,
  type HrmConfig,
  type SegmentResult,
} from "../../hrm/index.js";
import { testDevice } from "../support/device.js";
import { assertClose, random, randomIntegers } from "../support/random.js";
import { haltOnly, official } from "../support/tiny.js";

const ROWS = 512;
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

interface Row {
  readonly steps: number;
  readonly halt: number;
  readonly goOn: number;
  readonly minimum: number;
}

/** Runs the decision on many random rows and compares each with `rule`. */
async function checkHalting(
  config: HrmConfig,
  mode: "training" | "evaluation",
  rule: (row: Row) => boolean,
): Promise<void> {
  const device = await testDevice();
  const step = await compile(
    device,
    { steps: i32(ROWS), halt: f32(ROWS), goOn: f32(ROWS), minimum: i32(ROWS) },
    ({ steps, halt, goOn, minimum }) => {
      const q = { qHalt: halt, qContinue: goOn } as SegmentResult;
      const {
        halted,
        last,
        steps: counted,
      } = decideHalting(steps, q, mode === "training" ? minimum : null, config);
      return { halted, last, counted };
    },
  );
  const steps = randomIntegers(ROWS, 0, config.halt_max_steps);
  const minimum = randomIntegers(ROWS, 0, config.halt_max_steps + 1);
  // Ties and zeros too: the rules are strict.
  const halt = Float32Array.from(randomIntegers(ROWS, -2, 3));
  const goOn = Float32Array.from(randomIntegers(ROWS, -2, 3));
  await step.run({ steps, halt, goOn, minimum });
  const expected = Array.from(steps, (n, i) =>
    Number(rule({ steps: n + 1, halt: halt[i]!, goOn: goOn[i]!, minimum: minimum[i]! })),
  );
  assert.deepEqual([...(await step.read("halted"))], expected);
  assert.deepEqual(
    [...(await step.read("counted"))],
    [...steps].map((n) => n + 1),
  );
  assert.deepEqual(
    [...(await step.read("last"))],
    [...steps].map((n) => Number(n + 1 >= config.halt_max_steps)),
  );
  if (config.halt_max_steps > 1) assert.includeMembers(expected, [0, 1]);
  step.destroy();
}

describe("halting", () => {
  const max = official.halt_max_steps;
  it("happens in training at the last step, or if q_halt > q_continue, but not before the minimum", () =>
    checkHalting(
      official,
      "training",
      ({ steps, halt, goOn, minimum }) => (steps >= max || halt > goOn) && steps >= minimum,
    ));
  it("happens with halt_only at the last step, or if q_halt > 0, but not before the minimum", () =>
    checkHalting(
      haltOnly,
      "training",
      ({ steps, halt, minimum }) => (steps >= max || halt > 0) && steps >= minimum,
    ));
  it("happens at once if one step is allowed", () =>
    checkHalting({ ...official, halt_max_steps: 1 }, "training", () => true));
  it("happens in evaluation at the last step only", () =>
    checkHalting(official, "evaluation", ({ steps }) => steps >= max));

  it("explores if the draw is below the probability", async () => {
    const device = await testDevice();
    const step = await compile(device, { u: f32(4), n: i32(4) }, ({ u, n }) => ({
      m: minimumHaltSteps(u, n, official),
    }));
    await step.run({ u: Float32Array.of(0, 0.39, 0.4, 0.99), n: Int32Array.of(2, 3, 2, 3) });
    assert.deepEqual([...(await step.read("m"))], [2, 3, 0, 0]);
    step.destroy();
  });

  it("takes as target the best that the next segment offers", async () => {
    const device = await testDevice();
    const step = await compile(
      device,
      { last: i32(3), halt: f32(3), goOn: f32(3) },
      ({ last, halt, goOn }) => ({
        t: continueTarget(last, { qHalt: halt, qContinue: goOn }),
      }),
    );
    await step.run({
      last: Int32Array.of(0, 0, 1),
      halt: Float32Array.of(1, -1, -2),
      goOn: Float32Array.of(0.5, 2, 3),
    });
    assertClose(await step.read("t"), [sigmoid(1), sigmoid(2), sigmoid(-2)], 1e-6, "target");
    step.destroy();
  });
});

describe("the ACT loss", () => {
  const B = 16;
  const { seq_len: S, vocab_size: V } = official;

  /** Loss and metrics in float64, as losses.py has them. */
  function reference(
    config: HrmConfig,
    data: Record<"logits" | "qHalt" | "qContinue" | "target", Float32Array> &
      Record<"labels" | "halted" | "steps", Int32Array>,
    withTarget: boolean,
  ): Record<string, number> {
    const sums = Object.fromEntries(METRICS.map((m) => [m, 0]));
    const bce = (x: number, t: number): number => Math.max(x, 0) - x * t + Math.log1p(Math.exp(-Math.abs(x)));
    for (let b = 0; b < B; b++) {
      let [lm, right, valid] = [0, 0, 0];
      for (let s = 0; s < S; s++) {
        const label = data.labels[b * S + s]!;
        if (label === IGNORE_LABEL) continue;
        const row = [...data.logits.subarray((b * S + s) * V, (b * S + s + 1) * V)];
        const mass = row.map((x) =>
          config.loss_type === "stablemax_cross_entropy" ? (x >= 0 ? x + 1 : 1 / (1 - x)) : Math.exp(x),
        );
        lm -= Math.log(mass[label]! / mass.reduce((p, q) => p + q, 0));
        valid++;
        if (row.indexOf(Math.max(...row)) === label) right++;
      }
      const solved = right === valid;
      sums["lm_loss"]! += lm / Math.max(1, valid);
      sums["q_halt_loss"]! += bce(data.qHalt[b]!, Number(solved));
      if (withTarget) sums["q_continue_loss"]! += bce(data.qContinue[b]!, data.target[b]!);
      if (data.halted[b] !== 1 || valid === 0) continue;
      sums["count"]! += 1;
      sums["accuracy"]! += right / valid;
      sums["exact_accuracy"]! += Number(solved);
      sums["q_halt_accuracy"]! += Number(data.qHalt[b]! >= 0 === solved);
      sums["steps"]! += data.steps[b]!;
    }
    return sums;
  }

  for (const [name, config, withTarget] of [
    ["with a target", official, true],
    ["halt-only", haltOnly, false],
  ] as const) {
    it(`${name} is lm + 0.5 (q_halt + q_continue), and its metrics count halted rows with labels`, async () => {
      const device = await testDevice();
      const step = await compile(
        device,
        {
          logits: f32(B, S, V),
          labels: i32(B, S),
          qHalt: f32(B),
          qContinue: f32(B),
          target: f32(B),
          halted: i32(B),
          steps: i32(B),
        },
        ({ target, ...inputs }): Record<string, Tensor> => {
          const { total, metrics, predictions } = actLoss(
            { ...inputs, targetContinue: withTarget ? target : null },
            config,
          );
          return { total, metrics, predictions };
        },
      );
      const labels = randomIntegers(B * S, 0, V).map((label) => (label < 2 ? IGNORE_LABEL : label));
      labels.fill(IGNORE_LABEL, 0, S);
      const logits = random(B * S * V, -2, 2);
      // Half of the rows are right everywhere.
      for (let cell = (B / 2) * S; cell < B * S; cell++)
        if (labels[cell]! >= 0) logits[cell * V + labels[cell]!] = 3;
      const data = {
        logits,
        labels,
        qHalt: random(B, -2, 2),
        qContinue: random(B, -2, 2),
        target: random(B, 0, 1),
        halted: randomIntegers(B, 0, 2),
        steps: randomIntegers(B, 1, 4),
      };
      data.halted[0] = 1;
      data.halted[B - 1] = 1;
      await step.run(data);
      const expected = reference(config, data, withTarget);
      const metrics = await step.read("metrics");
      METRICS.forEach((metric, i) => {
        // Losses: sums of 16 rows of 6 rounded logarithms. Counts: whole numbers. Accuracy: 16 rounded quotients.
        const allowed = metric.endsWith("loss")
          ? 1e-5 * (1 + expected[metric]!)
          : metric === "accuracy"
            ? 1e-5
            : 0;
        assertClose([metrics[i]!], [expected[metric]!], allowed, metric);
      });
      const total = expected["lm_loss"]! + 0.5 * (expected["q_halt_loss"]! + expected["q_continue_loss"]!);
      assertClose(await step.read("total"), [total], 1e-5 * (1 + total), "total");
      assert.isAbove(expected["exact_accuracy"]!, 0);
      step.destroy();
    });
  }
});
