/** The lines that a run prints first. They follow from the configuration of the run. */
import { changes, departures } from "../../training/departures.js";
import { countParameters } from "../../model/parameters.js";
import { SUDOKU4_NOTE, type Preset } from "../../training/presets.js";

export interface Announced {
  /** The preset with the changes of options, files and puzzles. */
  readonly preset: Preset;
  /** The preset without changes. */
  readonly named: Preset;
  /** The file that the puzzles come from; null if the preset makes them. */
  readonly data: string | null;
}

/** The lines, without the run's folder. */
export function announcement({ preset, named, data }: Announced): string[] {
  const changed = changes(preset, named);
  const otherPuzzles = preset.task.name !== named.task.name;
  const asItIs = changed.length === 0 && !otherPuzzles;
  const lines = [
    asItIs
      ? `preset    ${preset.name}: ${preset.summary}`
      : `preset    ${[preset.name, ...(otherPuzzles ? ["on other puzzles than its own"] : []), ...changed].join(", ")}`,
  ];
  if (asItIs && preset.status.kind === "unproven") lines.push(`          unproven: ${preset.status.tried}`);
  lines.push(`model     ${countParameters(preset.model).toLocaleString("en")} parameters`);
  for (const departure of departures(preset, preset.recipe))
    lines.push(`          departs from the official recipe: ${departure}`);
  if (named.train.augment && !preset.train.augment) {
    const reason =
      preset.task.symmetry === null
        ? `${preset.task.name} has no symmetries`
        : preset.splitBy === "solution"
          ? "images of training puzzles would be among the held-out ones"
          : "augment is false";
    lines.push(`          nothing is augmented, although the preset augments: ${reason}`);
  }
  // Puzzles of files may share grids with held-out puzzles; the line about the split says what they share.
  if (data === null && preset.task.name === "sudoku4") lines.push(`          ${SUDOKU4_NOTE}`);
  if (data !== null) lines.push(`puzzles   ${preset.task.name} from ${data}`);
  return lines;
}
