/** The last saved state of a run. */
import { join } from "node:path";
import type { SessionSnapshot } from "../../training/session.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { newestCheckpoint, ofRun, storedSteps } from "./checkpoint_store.js";
import { reasonOf } from "../disk/output.js";
import { hasHistory, METRICS_FILE } from "./log.js";
import { CHECKPOINT_FOLDER } from "./store.js";
import { say } from "../output/console.js";

/**
 * The state from which a run continues; null if the run ended before its first checkpoint.
 * @throws ArgumentError if the folder cannot be read, or if it has a history without a checkpoint
 */
export async function lastState(folder: string): Promise<SessionSnapshot | null> {
  const checkpoints = join(folder, CHECKPOINT_FOLDER);
  const cannot = (reason: string): ArgumentError =>
    new ArgumentError(`--resume "${folder}": ${reason} Nothing in the folder was changed.`);
  const steps = await storedSteps(checkpoints).catch((error: unknown) => {
    throw cannot(`its folder ${CHECKPOINT_FOLDER} cannot be read (${reasonOf(error)}); make it readable.`);
  });
  if (steps.length === 0) {
    // A run saves before its first step, so a run with a history had checkpoints.
    if (await hasHistory(folder))
      throw cannot(
        `its ${METRICS_FILE} tells of steps, but ${CHECKPOINT_FOLDER} holds no checkpoint; put one back, or start a new run.`,
      );
    return null;
  }
  const { checkpoint, skipped } = await newestCheckpoint(checkpoints, { wanted: ofRun });
  for (const { path: broken, problem } of skipped) say(`warning   ${broken} is not used: ${problem}`);
  return checkpoint.run!;
}
