/**
 * Records a thought of the model that comes with the page, for browsers without WebGPU: the first held-out puzzle that it
 * solves, but not in its first segment. Prints JSON; `record.mjs` bundles and runs it.
 */
import { readFile } from "node:fs/promises";
import { openNodeDevice } from "../../../engine/node/index.js";
import { decodeCheckpoint } from "../../../hrm/files/checkpoints/checkpoint.js";
import { countParameters, createWeights } from "../../../hrm/model/parameters.js";
import { findPreset } from "../../../hrm/training/presets.js";
import { createThinker } from "../../../hrm/thinking/thoughts.js";
import { heldOut } from "../puzzles/held_out.js";
import { solvedAfter } from "../state/thinking.js";
import { SHIPPED } from "./shipped.js";

const checkpoint = decodeCheckpoint(await readFile(`docs/playground/${SHIPPED.file}`));
const { task } = findPreset(checkpoint.task)!;
const { config } = checkpoint;
const device = await openNodeDevice();
const weights = createWeights(device, config, checkpoint.ema ?? checkpoint.raw);
const thinker = await createThinker({ device, config, weights });
const { set } = heldOut(checkpoint.task, task, checkpoint.seed)!;
const rounded = (values: Float32Array): number[] => Array.from(values, (x) => Number(x.toFixed(3)));
for (let row = 0; row < set.count; row++) {
  const inputs = set.inputs.slice(row * set.length, (row + 1) * set.length);
  const thought = await thinker.think(inputs);
  const shown = { source: "file", step: checkpoint.step, inputs, thought } as const;
  if (solvedAfter(task, shown, 0) !== false || !solvedAfter(task, shown, thought.segments - 1)) continue;
  const { length, segments, levels, tokens, confidence, qHalt, qContinue, residuals } = thought;
  const numbers = { confidence, qHalt, qContinue, residuals };
  console.log(
    JSON.stringify({
      ...{ task: task.name, step: checkpoint.step, parameters: countParameters(config) },
      ...{ haltOnly: config.halt_only, inputs: [...inputs], length, segments, levels, tokens: [...tokens] },
      ...Object.fromEntries(Object.entries(numbers).map(([name, values]) => [name, rounded(values)])),
    }),
  );
  break;
}
device.destroy();
