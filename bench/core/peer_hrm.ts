/** HRM's step in another library. Its first two steps are compared with ours, which is checked in float64. */
import type { HrmConfig, StateDict, Trainer } from "../../hrm/index.js";
import { checkHrmStep } from "./hrm_step.js";
import { WrongResultError } from "./kernel_case.js";
import type { HrmMetrics, PeerHrmStep } from "./peer_types.js";

/** Our first two steps, and the batch that both had. */
export interface HrmReference {
  readonly inputs: Int32Array;
  readonly labels: Int32Array;
  readonly steps: readonly [HrmMetrics, HrmMetrics];
}

/**
 * Runs our first two steps. No row halts after the first, whose Q values are equal: the second goes on with the same
 * puzzles, from the states of the first and the weights that it updated.
 * @throws WrongResultError
 */
export async function referenceSteps(
  trainer: Trainer,
  state: StateDict,
  config: HrmConfig,
  tolerance: number,
): Promise<{ error: number; reference: HrmReference }> {
  const { metrics, inputs, labels, error } = await checkHrmStep(trainer, state, config, tolerance);
  await trainer.run(1);
  const [second] = await trainer.metrics();
  return { error, reference: { inputs, labels, steps: [metrics, second!] } };
}

/** How much larger the tolerance of the second step is: Adam's first update is as large for a gradient of mere rounding errors as for any other. */
const SECOND_STEP = 3;

/**
 * Compares a library's step, run once, and then once more, by losses and the gradient's length.
 * @returns the relative error of the first language-model loss
 * @throws WrongResultError
 */
export async function checkPeerSteps(
  step: PeerHrmStep,
  { steps: [first, second] }: HrmReference,
  tolerance: number,
): Promise<number> {
  const error = compareMetrics("first", await step.metrics(), first, tolerance);
  await step.run();
  await step.drain();
  compareMetrics("second", await step.metrics(), second, SECOND_STEP * tolerance);
  return error;
}

function compareMetrics(which: string, got: HrmMetrics, expected: HrmMetrics, tolerance: number): number {
  const error = (name: keyof HrmMetrics): number =>
    Math.abs(got[name] - expected[name]) / Math.abs(expected[name]);
  for (const name of ["lm_loss", "q_halt_loss", "gradientNorm"] as const)
    if (!(error(name) <= tolerance))
      throw new WrongResultError(
        `training step: ${name} of the ${which} step is ${got[name]}; expected ${expected[name]} within ${tolerance * 100}%.`,
      );
  return error("lm_loss");
}
