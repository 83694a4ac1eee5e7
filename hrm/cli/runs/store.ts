/** Checkpoints of a running session: the newest few, and the best. */
import { join } from "node:path";
import {
  decodeCheckpoint,
  encodeCheckpoint,
  runCheckpoint,
  type Checkpoint,
} from "../../files/checkpoints/checkpoint.js";
import { nonFiniteState } from "../../training/diagnosis.js";
import type { BestLook, Session, SessionSnapshot } from "../../training/session.js";
import { snapshotWeights } from "../../training/snapshot.js";
import { ofRun, storeCheckpoint } from "./checkpoint_store.js";
import { nodeFileSystem, readWhole, type FileSystem } from "../disk/file_system.js";
import { OutputError, writeFileSafely } from "../disk/output.js";

/** Name of the best look's checkpoint in the run's folder. */
export const BEST_FILE = "best.safetensors";
/** Name of the folder with the newest checkpoints. */
export const CHECKPOINT_FOLDER = "checkpoints";

/** Seconds after which a run saves between two looks: what a crash loses at most, about. */
const SAVE_EVERY_SECONDS = 30;

/** What a run keeps on disk. */
export interface RunStore {
  /** The last state that was saved, in memory and on disk; null before the first. */
  readonly last: { readonly snapshot: SessionSnapshot; readonly path: string } | null;
  /** True where the last save is long ago. */
  readonly due: boolean;
  /**
   * Saves the session as it is, unless some of it is no longer finite: then nothing is written and the last good
   * checkpoint stays. Returns whether it saved. @throws OutputError
   */
  save(options?: SaveOptions): Promise<boolean>;
  /** Writes the best look's file again if it is missing, damaged or of another step. @throws OutputError */
  keepBest(best: BestLook): Promise<void>;
}

export interface SaveOptions {
  /** Keep it as the best, too. */
  readonly best?: boolean;
  /** Runs before the state is written: what is logged here is there whenever the checkpoint is. */
  readonly log?: () => Promise<void>;
}

export interface RunStoreOptions {
  readonly folder: string;
  /** What checkpoints say of their puzzles. */
  readonly origin: Pick<Checkpoint, "task" | "data" | "vocabulary">;
  /** Checkpoints kept, besides the best. */
  readonly keep: number;
  readonly fs?: FileSystem;
}

/** Opens the store of a run. */
export function openRunStore(
  session: Pick<Session, "save">,
  { folder, origin, keep, fs = nodeFileSystem }: RunStoreOptions,
): RunStore {
  const usable = new Map<string, boolean>();
  let last: RunStore["last"] = null;
  let savedAt = performance.now();
  return {
    get last() {
      return last;
    },
    get due() {
      return performance.now() - savedAt > 1000 * SAVE_EVERY_SECONDS;
    },
    async save({ best = false, log } = {}) {
      const snapshot = await session.save();
      if (nonFiniteState(snapshot) !== null) return false;
      await log?.();
      const { config, step, seed } = snapshot;
      if (best) {
        const weights = { config, ...origin, step, seed, ...snapshotWeights(snapshot) };
        await writeFileSafely(join(folder, BEST_FILE), encodeCheckpoint(weights), fs);
      }
      const checkpoints = join(folder, CHECKPOINT_FOLDER);
      const bytes = encodeCheckpoint(runCheckpoint(snapshot, origin));
      const options = { keep, usable, wanted: ofRun, fs };
      const path = await storeCheckpoint(checkpoints, step, bytes, options).catch((error: unknown) => {
        throw new OutputError(checkpoints, error);
      });
      last = { snapshot, path };
      savedAt = performance.now();
      return true;
    },
    async keepBest({ step, weights }) {
      const path = join(folder, BEST_FILE);
      const there = await readWhole(fs, path)
        .then(decodeCheckpoint)
        .catch(() => null);
      if (there?.step === step) return;
      const { config, seed } = last!.snapshot;
      const file = { config, ...origin, step, seed, raw: weights, ema: null };
      await writeFileSafely(path, encodeCheckpoint(file), fs);
    },
  };
}
