/** The puzzles that `hrm eval` scores. */
import type { Checkpoint } from "../../files/checkpoints/checkpoint.js";
import { formatText } from "../../format_value.js";
import type { PuzzleSet } from "../../puzzles/puzzle_set.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { findPreset } from "../../training/presets.js";
import { taskOf } from "../inputs/checkpoint_file.js";
import { onGridOf } from "../inputs/other_grid.js";
import { namedTask, readPuzzles, requireTask, splitsOf, type PuzzleFile } from "../inputs/puzzle_files.js";

/** Puzzles of any size, and the checkpoint adapted to their grid. @throws ArgumentError */
export async function otherPuzzles(
  trained: Checkpoint,
  { path, option, columns }: PuzzleFile,
  name: string | undefined,
) {
  const named = name !== undefined && { task: requireTask(name), ownIdentifiers: true };
  const { set, task } = await readPuzzles(path, option, { split: "test", columns, ...named });
  const checkpoint = onGridOf(trained, task);
  const { grid_rows, grid_columns, seq_len } = trained.config;
  const before = grid_rows > 0 ? `${grid_rows}x${grid_columns}` : `${seq_len} cells`;
  const origin = `${set.count} puzzles of ${path}: ${task.rows}x${task.columns}, by a model trained on ${before}`;
  return { data: set, origin, checkpoint, task };
}

/** Puzzles of the checkpoint's own size. @throws ArgumentError */
export async function ownPuzzles(
  checkpoint: Checkpoint,
  {
    puzzles,
    seed,
    task: name,
  }: { puzzles: PuzzleFile | null; seed: number | undefined; task: string | undefined },
) {
  const task = namedTask(taskOf(checkpoint), name);
  return { ...(await testPuzzles(checkpoint, { puzzles, seed, task })), checkpoint, task };
}

/** The puzzles to score, and where they come from in words. @throws ArgumentError */
async function testPuzzles(
  checkpoint: Checkpoint,
  { puzzles, seed: given, task }: { puzzles: PuzzleFile | null; seed: number | undefined; task: Task },
): Promise<{ data: PuzzleSet; origin: string }> {
  if (puzzles) {
    const { path, option, columns } = puzzles;
    if (given !== undefined)
      throw new ArgumentError(
        `--seed: got ${given} with ${option}; expected no seed where puzzles come from a file.`,
      );
    const { set } = await readPuzzles(path, option, { task, split: "test", columns });
    return { data: set, origin: `${set.count} puzzles of ${path}` };
  }
  const preset = findPreset(checkpoint.task);
  if (!preset || checkpoint.data !== undefined) {
    throw new ArgumentError(
      `--data: got nothing; this checkpoint was trained on ${formatText(checkpoint.data ?? checkpoint.task, 200)}, so name the file with the puzzles to score.`,
    );
  }
  const seed = given ?? checkpoint.seed ?? 0;
  const untouched =
    seed === checkpoint.seed
      ? "which the run left untouched"
      : `another than the run's (${checkpoint.seed ?? "unknown"}), so it may have been trained on some of these`;
  return { data: splitsOf(preset, seed).test, origin: `test puzzles of seed ${seed}, ${untouched}` };
}
