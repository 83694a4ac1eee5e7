/**
 * A trained model on somebody's page: reads a checkpoint, and answers puzzles segment by segment. Inference alone: no
 * training, no tasks, no readers of other programs' files, which solve_official.ts adds.
 */
import { decodeCheckpoint } from "./files/checkpoints/checkpoint.js";
import { isSealed } from "./files/checkpoints/seal.js";
import { FileFormatError } from "./files/file_format_error.js";
import { loadModel, type LoadOptions, type PuzzleModel, type Source } from "./puzzle_model.js";

export type { Answer, Grid, LoadOptions, PuzzleModel, SolveOptions, Source } from "./puzzle_model.js";

/**
 * Loads a model from a checkpoint that `hrm train` or a session saved. `load` of `hrm-webgpu/solve/official` reads official
 * weights, too.
 * @throws SourceError if the address cannot be read, FileFormatError if the file is no such checkpoint, AdapterError without
 * WebGPU, and the reason of the signal if that fires
 */
export function load(source: Source, options: LoadOptions = {}): Promise<PuzzleModel> {
  return loadModel(source, options, (bytes) => {
    if (!isSealed(bytes))
      throw new FileFormatError(
        "checkpoint",
        "hrm-webgpu did not save this file; expected a checkpoint of hrm train. If it holds weights of the official PyTorch code, import load from hrm-webgpu/solve/official",
      );
    return decodeCheckpoint(bytes);
  });
}
