/** Checkpoints of a running session: the newest few and the best. */
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

/** Seconds after which a run saves even between two looks, so that a crash loses about this much work at most. */
const SAVE_EVERY_SECONDS = 30;

/** The checkpoints of a run on disk. */
export interface RunStore {
  /** The last saved state, in memory and on disk; null before the first save. */
  readonly last: { readonly snapshot: SessionSnapshot; readonly path: string } | null;
  /** True if the last save was long ago. */
  readonly due: boolean;
  /**
   * Saves the current state and returns true. If the state holds a NaN or an infinity, writes nothing, keeps the last good
   * checkpoint and returns false. @throws OutputError
   */
  save(options?: SaveOptions): Promise<boolean>;
  /** Writes the file of the best look again if it is missing, damaged or of another step. @throws OutputError */
  keepBest(best: BestLook): Promise<void>;
}

export interface SaveOptions {
  /** Whether to save the state as the best, too. */
  readonly best?: boolean;
  /** Runs before the state is written, so that the log is complete whenever the checkpoint exists. */
  readonly log?: () => Promise<void>;
}

export interface RunStoreOptions {
  readonly folder: string;
  /** Fields of the checkpoints that describe the puzzles. */
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
