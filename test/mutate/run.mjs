/**
 * Plants faults (faults.mjs) one at a time and runs the tests that must notice: `npm run mutate [-- part of a name]`.
 * The fault goes into the bundle of the test file, so the working tree stays as it is. Prints who survived, and the score.
 */
import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { FAULTS } from "./faults.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
process.chdir(root);
const out = join(root, "build/mutate");
const LEAST = 0.9;
const AT_ONCE = 2;
const LIMIT_MS = 180_000;

/** Bundles a test file with a fault, or without; returns the folder. */
async function bundle(test, fault, name) {
  const folder = join(out, name);
  const plugin = {
    name: "fault",
    setup: (b) =>
      b.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (!fault || path !== resolve(fault.file)) return undefined;
        return { contents: planted(fault), loader: "ts" };
      }),
  };
  await esbuild.build({
    entryPoints: [test, "./test/support/random.ts"],
    ...{ bundle: true, format: "esm", target: "es2022", platform: "node", packages: "external" },
    ...{ splitting: true, outdir: folder, outbase: "test", logLevel: "error", plugins: [plugin] },
  });
  return folder;
}

/** The file's text with the fault in it. A fault whose text is gone, or stands twice, is an error of the table. */
function planted({ file, find, replace }) {
  const parts = readFileSync(file, "utf8").split(find);
  if (parts.length !== 2) throw new Error(`${file}: found ${parts.length - 1} times, expected once: ${find}`);
  return parts.join(replace);
}

/** Runs the tests of a file whose titles match; a process that dies or hangs has failed. */
function runTests(folder, test, grep) {
  return new Promise((done) => {
    const child = fork(join(root, "test/worker.mjs"), [folder, grep], {
      env: { ...process.env, TEST_SEED: "1" },
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    const end = (result) => {
      clearTimeout(timer);
      child.removeAllListeners();
      child.kill("SIGKILL");
      done(result);
    };
    const timer = setTimeout(() => end({ passed: 0, failed: ["no end"] }), LIMIT_MS);
    child.once("exit", () => end({ passed: 0, failed: ["the process ended"] }));
    child.on("message", (message) => {
      if (message === "ready") child.send(test.replace("./test/", "").replace(/\.ts$/, ".js"));
      else end(message);
    });
  });
}

async function inTurn(jobs, work) {
  const queue = [...jobs.entries()];
  const lane = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await work(next[1], next[0]);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

const wanted = process.argv[2] ?? "";
const faults = FAULTS.filter(({ name }) => name.includes(wanted));
if (faults.length === 0) {
  console.error(
    `got "${wanted}", which is part of no fault's name; expected a part of one in test/mutate/faults.mjs.`,
  );
  process.exit(2);
}
for (const fault of faults) planted(fault);
try {
  // A test that fails without a fault, or does not run, notices nothing.
  const suites = new Map(faults.map((f) => [`${f.test} ${f.grep}`, f]));
  await inTurn([...suites.values()], async ({ test, grep }, i) => {
    const { passed, failed } = await runTests(await bundle(test, null, `whole-${i}`), test, grep);
    if (failed.length > 0 || passed === 0)
      throw new Error(`without a fault, ${test} "${grep}": ${passed} passed, ${failed.length} failed`);
  });
  const survivors = [];
  await inTurn(faults, async (fault, i) => {
    const { failed } = await runTests(await bundle(fault.test, fault, String(i)), fault.test, fault.grep);
    if (failed.length === 0) survivors.push(fault.name);
    console.log(`${failed.length === 0 ? "SURVIVED" : "noticed "}  ${fault.name}`);
  });
  const noticed = faults.length - survivors.length;
  for (const name of survivors) console.log(`survivor: ${name}`);
  console.log(
    `${noticed} of ${faults.length} planted faults noticed (${((100 * noticed) / faults.length).toFixed(1)}%)`,
  );
  process.exitCode = noticed >= LEAST * faults.length ? 0 : 1;
} finally {
  await rm(out, { recursive: true, force: true });
}
