/**
 * `npm run fuzz -- [--count N] [--seed S] [--only NAME]`: reads damaged files of every format and reports how many were
 * refused, the slowest, and the memory that the readers took. Exits with 1 where a reader crashed, hung or grew.
 */
import { parseArgs } from "node:util";
import { hostRandom } from "../../hrm/puzzles/index.js";
import type { FuzzFormat } from "./format.js";
import { puzzleFormats } from "./puzzle_formats.js";
import { tensorFormats } from "./tensor_formats.js";

const FORMATS: readonly FuzzFormat[] = [...puzzleFormats, ...tensorFormats];
/** More than any of these small files can need. */
const MOST_MEGABYTES = 256;
const LONGEST_SECONDS = 5;

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "20000" },
    seed: { type: "string", default: "0" },
    only: { type: "string" },
  },
});
const [count, seed] = [Number(values.count), Number(values.seed)];
if (!Number.isInteger(count) || count < 1 || !Number.isSafeInteger(seed) || seed < 0) {
  console.error("fuzz: expected --count N (a positive integer) and --seed S (an integer of at least 0)");
  process.exit(2);
}
const chosen = FORMATS.filter(({ name }) => values.only === undefined || name === values.only);
if (chosen.length === 0) {
  console.error(`fuzz: got --only ${values.only}; expected ${FORMATS.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}

const peak = (): number => process.resourceUsage().maxRSS / 1024;
let failures = 0;
let inputs = 0;
for (const { name, attempt } of chosen) {
  const before = peak();
  const started = performance.now();
  let [refused, slowest, slowestInput] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    // Each input has a seed of its own: what fails is repeated alone by --seed and its number.
    const random = hostRandom(seed, `fuzz ${name} ${i}`);
    const from = performance.now();
    try {
      if ((await attempt(random)) === "refused") refused++;
    } catch (error) {
      failures++;
      console.error(`FAILED ${name} input ${i} of seed ${seed}: ${String((error as Error).stack ?? error)}`);
    }
    const seconds = (performance.now() - from) / 1000;
    if (seconds > slowest) [slowest, slowestInput] = [seconds, i];
  }
  inputs += count;
  const grown = peak() - before;
  const slow = slowest > LONGEST_SECONDS;
  if (slow || grown > MOST_MEGABYTES) failures++;
  console.log(
    `${name.padEnd(19)} ${count} inputs, ${refused} refused, ${count - refused} accepted and sound; ` +
      `${((performance.now() - started) / 1000).toFixed(1)} s, slowest ${(slowest * 1000).toFixed(0)} ms (input ${slowestInput}); ` +
      `peak memory +${grown.toFixed(0)} MB${slow ? " TOO SLOW" : ""}${grown > MOST_MEGABYTES ? " TOO LARGE" : ""}`,
  );
}
console.log(
  `${inputs} inputs, seed ${seed}: ${failures} failures; peak memory ${peak().toFixed(0)} MB in all`,
);
process.exit(failures > 0 ? 1 : 0);
