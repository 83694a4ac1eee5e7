/**
 * Records the curve of finished runs: `node docs/curves/record.mjs "note" RUN_FOLDER... > docs/curves/NAME.json`.
 * The runs have one configuration and differ in their seeds; each folder is one that `hrm train` made.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [note, ...folders] = process.argv.slice(2);
if (folders.length === 0) throw new Error('expected "note" and the folders of runs');

const round = (value) => Number(value.toFixed(4));
const read = (folder) => ({
  config: JSON.parse(readFileSync(join(folder, "config.json"), "utf8")),
  lines: readFileSync(join(folder, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line)),
});
const runs = folders.map(read);
const { preset, adapter, model, train } = runs[0].config;
for (const { config } of runs)
  for (const field of ["preset", "model", "train"])
    if (JSON.stringify(config[field]) !== JSON.stringify(runs[0].config[field]))
      throw new Error(`seed ${config.seed} differs in its ${field}`);

console.log(
  JSON.stringify({
    preset,
    adapter,
    note,
    model,
    train,
    columns: ["step", "seconds", "exactAccuracy", "cellAccuracy"],
    runs: runs.map(({ config, lines }) => {
      const looks = lines.filter(({ kind }) => kind === "validation");
      const test = lines.find(({ kind }) => kind === "test");
      return {
        seed: config.seed,
        validation: looks.map(({ step, seconds, exactAccuracy, cellAccuracy }) => [
          step,
          Math.round(seconds),
          round(exactAccuracy),
          round(cellAccuracy),
        ]),
        ...(test && {
          test: {
            steps: test.step,
            seconds: Math.round(test.seconds),
            count: test.count,
            segments: test.meanSteps,
            exactAccuracy: round(test.exactAccuracy),
            cellAccuracy: round(test.cellAccuracy),
          },
        }),
      };
    }),
  }),
);
