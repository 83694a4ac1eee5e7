/** Puzzles of a visitor's file, read where they are trained on: they never leave the machine. */
import { splitFile } from "../../../hrm/puzzles/file_splits.js";
import { blobSource, loadPuzzles, type PuzzleData } from "../../../hrm/files/puzzles/index.js";
import { findPreset } from "../../../hrm/training/presets.js";
import type { PuzzleFile } from "../protocol.js";
import { EXAMPLE, mirrorExample } from "../puzzles/mirror_example.js";
import { splitOf, type OwnPuzzles, type RunConfig } from "../run_config.js";

/** The file that was read last, so that it is read once for the options and the run. */
let newest: { readonly file: PuzzleFile; readonly data: Promise<PuzzleData> } | null = null;

/** The file that was read last, if it is this one. */
export const newestFile = (id: string): PuzzleFile | null => (newest?.file.id === id ? newest.file : null);

/** Reads a file. @throws FileFormatError on one that holds no puzzles with answers */
export function readPuzzles(file: PuzzleFile): Promise<PuzzleData> {
  const { id, name, bytes } = file;
  if (newest?.file.id === id) return newest.data;
  const data = loadPuzzles(blobSource(new Blob([bytes]), name), { split: "train" });
  newest = { file, data };
  return data;
}

/** The file of the worked example. */
export const exampleFile = (): PuzzleFile => ({
  id: EXAMPLE,
  name: "mirror.jsonl",
  bytes: new TextEncoder().encode(mirrorExample()),
});

/** The puzzles of a run, split as the command line splits a file. */
export async function puzzlesOfRun(run: RunConfig, file: PuzzleFile): Promise<OwnPuzzles> {
  const { task, set } = await readPuzzles(file);
  const by = splitOf(findPreset(run.preset)!, task);
  return { task, splits: (seed) => splitFile(set, null, { task, by, seed }) };
}
