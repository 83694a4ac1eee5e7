/** The worked example of docs/data.md: grids of two rows, whose answer is the first row in reverse. */

/** What a run calls these puzzles. */
export const EXAMPLE = "example";
/** The preset whose recipe trains on them. */
export const EXAMPLE_RECIPE = "sudoku4";
/** The task of the file, as it is read back from a checkpoint. */
export const EXAMPLE_TASK = "grid-2x6-v6";
const COUNT = 2000;
const SEED = 1;

/** The file that `node mirror.mjs 2000 1` prints. */
export function mirrorExample(): string {
  let state = SEED;
  const digit = (): number => 1 + (((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24) % 5);
  const lines = [JSON.stringify({ vocabSize: 6 })];
  for (let i = 0; i < COUNT; i++) {
    const row = Array.from({ length: 6 }, digit);
    const blank = row.map(() => 0);
    lines.push(JSON.stringify({ input: [row, blank], label: [row, [...row].reverse()] }));
  }
  return lines.join("\n") + "\n";
}
