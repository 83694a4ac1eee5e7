/** The record of a run under way: every event is logged, and its state is saved. */
import type { Device } from "../../../engine/index.js";
import { divergedBefore, DivergenceError, findNonFinite } from "../../training/diagnosis.js";
import type { Preset } from "../../training/presets.js";
import type { Session, SessionEvent } from "../../training/session.js";
import { scoresLine, trainLine, type MetricsLine, type RunLog } from "./log.js";
import type { RunStore, SaveOptions } from "./store.js";

/** Seconds since this process began. */
export const secondsSinceStart = (): number => performance.now() / 1000;

/** What keeping a record needs. */
export interface Keeper {
  readonly session: Session;
  readonly preset: Preset;
  readonly store: RunStore;
  readonly log: RunLog;
  readonly device: Device;
}

/** Returns a function that logs an event, and that saves at every look and from time to time in between. @throws DivergenceError, OutputError */
export function keepRecord({
  session,
  preset,
  store,
  log,
  device,
}: Keeper): (event: SessionEvent) => Promise<void> {
  const save = async (
    { best = false }: Pick<SaveOptions, "best"> = {},
    line?: MetricsLine,
  ): Promise<void> => {
    const written = async (): Promise<void> => {
      if (line) await log.write(line);
      await log.sync();
    };
    if (!(await store.save({ best, log: written })))
      throw await divergence({ session, preset, store, device }, session.trainer.step);
  };
  return async (event) => {
    const seconds = secondsSinceStart();
    if (event.kind === "steps") {
      const { firstNonFinite } = event.metrics.at(-1)!;
      if (firstNonFinite > 0) throw await divergence({ session, preset, store, device }, firstNonFinite);
      const { model, train } = preset;
      await log.write(trainLine(event, { batchSize: model.batch_size, train, seconds }));
      if (store.due) await save();
    } else if (event.kind === "validation") {
      const { step, scores, best } = event;
      await save({ best }, scoresLine("validation", { step, seconds, scores }, { best }));
    }
  };
}

/**
 * The error of a run whose numbers are no longer finite, which was noticed at `lastStep`. Steps are replayed from the last
 * good checkpoint to find the first tensor with a NaN or an infinity.
 */
export async function divergence(
  { session, preset, store, device }: Omit<Keeper, "log">,
  lastStep: number,
): Promise<DivergenceError> {
  if (!store.last) return divergedBefore(await session.save());
  const { snapshot, path } = store.last;
  const { symmetry } = preset.task;
  const { target } = session.trainer;
  const data = session.splits.train;
  const found = await findNonFinite({ device, target, snapshot, data, symmetry, lastStep });
  // All numbers may be finite while the sum of their squares overflows.
  const { step, tensor } = found ?? { step: lastStep, tensor: "the gradient's norm" };
  return new DivergenceError(
    step,
    tensor,
    `Training left the finite numbers at step ${step}, first in ${tensor}. The last good checkpoint is ${path} (step ${snapshot.step}). ` +
      "A lower --lr, or more --lr_warmup_steps, usually helps.",
  );
}
