/** A run on the easy Sudoku file, ended with SIGKILL at random moments and resumed, against the same run left alone. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { assert } from "chai";
import { readSafetensors } from "../../hrm/files/index.js";
import { json, run, start } from "../support/command_line.js";
import { uniform } from "../support/random.js";
import { sharedData } from "../support/shared_data.js";

const STEPS = 64;
/** The puzzles are real, and the model is small, so that SwiftShader takes seconds. */
const PLAN = [
  ...["train", "--preset", "sudoku9-easy", "--test", "test.csv", "--steps", `${STEPS}`, "--batch", "4"],
  ...["--hidden_size", "16", "--num_heads", "1", "--L_cycles", "1", "--halt_max_steps", "2"],
  ...["--bp_steps", "4", "--inference_segments", "2"],
  ...["--eval-every", "8", "--eval-limit", "16", "--json"],
];
const RUN = "sudoku9-easy-seed0";

describe("a run on easy-train.csv", () => {
  it("killed three times at random moments and resumed, ends bit-identical to one left alone @slow", async function () {
    this.timeout(300_000);
    const test = new TextDecoder().decode(sharedData(this, "sudoku/easy-test.csv"));
    const folder = await mkdtemp(join(tmpdir(), "hrm-kill-"));
    try {
      await writeFile(join(folder, "test.csv"), test.split("\n").slice(0, 41).join("\n"));
      const plan = [...PLAN, "--data", resolve("../shared/data/sudoku/easy-train.csv")];
      const alone = json(await run(folder, ...plan, "--out", "alone"));
      const looks = String(await readFile(join(folder, "alone", RUN, "metrics.jsonl")))
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as { kind: string; step: number; seconds: number })
        .filter(({ kind }) => kind === "validation");
      assert.deepEqual(
        looks.map(({ step }) => step),
        [8, 16, 24, 32, 40, 48, 56, 64],
      );
      const gap = (1000 * (looks.at(-1)!.seconds - looks[0]!.seconds)) / (looks.length - 1);

      const killed = join("killed", RUN);
      const from: string[] = [];
      for (let kill = 0; kill < 3; kill++) {
        const args = kill === 0 ? [...plan, "--out", "killed"] : ["train", "--resume", killed];
        const started = start(folder, ...args);
        // The first time around the first save, then around those of the looks; a look is a step or two away at most.
        await started.said(kill === 0 ? /^data /m : /^step \d+: validation/m);
        await new Promise((done) => setTimeout(done, gap * uniform()));
        assert.isTrue(started.child.kill("SIGKILL"), "the run was over before it was killed");
        const { stderr } = await started.done;
        assert.notMatch(stderr, /^saved /m);
        if (kill > 0) from.push(/going on after step (\d+)/.exec(stderr)![1]!);
      }
      const resumed = await run(folder, "train", "--resume", killed, "--json");
      from.push(/going on after step (\d+)/.exec(resumed.stderr)![1]!);
      console.log(`      resumed after steps ${from.join(", ")} of ${STEPS}`);
      assert.notInclude(resumed.stderr, "not bit-identical");
      const end = json(resumed);
      for (const field of ["steps", "exactAccuracy", "cellAccuracy", "blankAccuracy", "meanSteps"])
        assert.deepEqual(end[field], alone[field], field);
      for (const name of ["best.safetensors", `checkpoints/step-000000${STEPS}.safetensors`]) {
        const [whole, parts] = await Promise.all(
          ["alone", "killed"].map(
            async (out) => new Uint8Array(await readFile(join(folder, out, RUN, name))),
          ),
        );
        const { tensors } = readSafetensors(whole!);
        assert.isAbove(tensors.size, 10);
        for (const [tensor, { data }] of readSafetensors(parts!).tensors)
          assert.deepEqual(data, tensors.get(tensor)!.data, `${name}: ${tensor}`);
        assert.equal(Buffer.compare(whole!, parts!), 0, name);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
