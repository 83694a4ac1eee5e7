/** The residuals of a thought as the columns of a chart. */
import type { Thought } from "../thinking/thoughts.js";

/** A column of a chart; null where the other level moves, or where nothing moved (a logarithm has no place for 0). */
export type Column = (number | null)[];

/** How far each update moved the state of one level; updates count from 1 over all segments. */
export function residualsOf({ residuals, levels }: Thought, level: "L" | "H"): Column {
  return Array.from(residuals, (value, update) =>
    levels[update % levels.length] === level && value > 0 ? value : null,
  );
}
