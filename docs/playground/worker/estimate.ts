/** Estimates what a run needs before the run is made. Its programs are planned, not compiled. */
import { EngineError, type Target } from "../../../engine/index.js";
import { countParameters } from "../../../hrm/model/parameters.js";
import type { PuzzleSet } from "../../../hrm/puzzles/puzzle_set.js";
import { runFlops, trainingNeeds } from "../../../hrm/training/memory_estimate.js";
import type { Preset } from "../../../hrm/training/presets.js";
import type { Estimate } from "../reports.js";
import { EXAMPLE } from "../puzzles/mirror_example.js";
import { configuredPreset, presetRun, type OwnPuzzles, type RunConfig } from "../run_config.js";
import { exampleFile, newestFile, puzzlesOfRun } from "./own_puzzles.js";

/** Puzzles of the training set that is assumed: what they take is little beside the rest. */
const PUZZLES = 1000;

/** A set of zeros: only its size matters. */
function emptyPuzzles(length: number): PuzzleSet {
  const cells = (): Int32Array => new Int32Array(PUZZLES * length);
  return { count: PUZZLES, length, inputs: cells(), labels: cells(), identifiers: new Int32Array(PUZZLES) };
}

function needsOf({ model: config, train, task }: Preset, target: Target) {
  const data = emptyPuzzles(config.seq_len);
  return { target, config, train, data, validation: data, symmetry: task.symmetry };
}

/** Estimates a run; a configuration that cannot be is refused in words. */
export async function estimateRun(
  target: Target,
  run: RunConfig,
  current: { readonly preset: Preset } | null,
): Promise<Estimate> {
  const flopsOf = (of: Preset): number => runFlops(needsOf(of, target)).step;
  const usual = configuredPreset(presetRun(run.preset));
  const known = {
    run,
    presetWork: flopsOf(usual) * usual.train.total_steps,
    runFlops: current && flopsOf(current.preset),
  };
  try {
    const preset = configuredPreset(run, await knownPuzzles(run));
    const memory = trainingNeeds(needsOf(preset, target), preset.model.batch_size);
    const parameters = countParameters(preset.model);
    return { ...known, parameters, flops: flopsOf(preset), memory, refused: null };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return { ...known, parameters: NaN, flops: NaN, memory: null, refused: error.message };
  }
}

/** The puzzles of a run on a file, if the file was read. */
async function knownPuzzles(run: RunConfig): Promise<OwnPuzzles | null> {
  if (run.data === "") return null;
  const file = run.data === EXAMPLE ? exampleFile() : newestFile(run.data);
  return file ? puzzlesOfRun(run, file) : null;
}
