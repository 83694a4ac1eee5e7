/** A trained model on puzzles of another size. */
import type { Checkpoint } from "../../files/checkpoints/checkpoint.js";
import { ConfigError, modelConfig } from "../../model/config.js";
import { sizesOf } from "../../model/task_fields.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { ArgumentError } from "../../terminal/arguments.js";

/**
 * Returns the checkpoint with the grid of another task that has the same tokens. Its weights do not change, so its positions
 * must be computed and not learned.
 * @throws ArgumentError that names the property to which the weights are tied
 */
export function onGridOf(checkpoint: Checkpoint, task: Task): Checkpoint {
  const { config } = checkpoint;
  const refuse = (reason: string): ArgumentError =>
    new ArgumentError(
      `--any-size: got puzzles of ${task.rows}x${task.columns} cells; expected ${config.seq_len} cells, as ${reason}.`,
    );
  if (task.vocabSize !== config.vocab_size)
    throw new ArgumentError(
      `--any-size: got puzzles of ${task.vocabSize} tokens; expected ${config.vocab_size}, which the weights know.`,
    );
  if (task.length !== config.seq_len && config.pos_encodings === "learned")
    throw refuse("the model learned a position for each of them");
  if (task.length !== config.seq_len && config.mlp_t)
    throw refuse("the model mixes so many positions by its weights");
  try {
    const { num_puzzle_identifiers } = config;
    return { ...checkpoint, config: modelConfig({ ...config, ...sizesOf(task), num_puzzle_identifiers }) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ArgumentError(
      `--any-size: the model cannot read ${task.rows}x${task.columns} cells: ${error.message}`,
    );
  }
}
