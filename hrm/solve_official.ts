/** `load` as solve.ts has it, which reads official weights, too: PyTorch files and safetensors of a state dict. */
import { openCheckpoint } from "./files/checkpoints/official.js";
import type { HrmConfig } from "./model/config.js";
import { loadModel, type LoadOptions, type PuzzleModel, type Source } from "./puzzle_model.js";

export type { Answer, Grid, LoadOptions, PuzzleModel, SolveOptions, Source } from "./puzzle_model.js";

/** How a model is loaded from weights of any origin. */
export interface OfficialLoadOptions extends LoadOptions {
  /** For a file that holds weights alone: the fields of its configuration that shapes do not tell. */
  readonly config?: Partial<HrmConfig>;
}

/**
 * Loads a model from a checkpoint that `hrm train` or a session saved, or from official weights (PyTorch or safetensors).
 * @throws SourceError if the address cannot be read, FileFormatError if the file is no checkpoint, ConfigError if `config`
 * contradicts it, AdapterError without WebGPU, and the reason of the signal if that fires
 */
export function load(source: Source, options: OfficialLoadOptions = {}): Promise<PuzzleModel> {
  const { config } = options;
  return loadModel(
    source,
    options,
    (bytes) => openCheckpoint(bytes, { ...(config && { config }) }).checkpoint,
  );
}
