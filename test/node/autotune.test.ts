/** Choices of kernels in the user's cache folder, and `hrm train --autotune` with them. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { readChoices, writeChoices } from "../../engine/node/index.js";
import { decodeCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { run } from "../support/command_line.js";

describe("measured choices of kernels", () => {
  let folder: string;
  const before = process.env["XDG_CACHE_HOME"];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-choices-"));
    process.env["XDG_CACHE_HOME"] = folder;
  });
  afterEach(async () => {
    if (before === undefined) delete process.env["XDG_CACHE_HOME"];
    else process.env["XDG_CACHE_HOME"] = before;
    await rm(folder, { recursive: true });
  });
  const files = async () => (await readdir(join(folder, "hrm-webgpu/kernel-choices"))).sort();

  it("come back as they were kept, for each device by itself, new ones beside old", async () => {
    assert.deepEqual(await readChoices("a"), { choices: {}, warning: null });
    await writeChoices("a", { matmul_nt_1x2x3: "r8x8", matmul_nn_1x2x3: "r4x4" });
    await writeChoices("b", { matmul_nt_1x2x3: "t32x32x8_r4x4" });
    await writeChoices("a", { matmul_nn_1x2x3: "r16x8_4N", matmul_tn_1x2x3: "r1x1" });
    assert.deepEqual(await readChoices("a"), {
      choices: { matmul_nt_1x2x3: "r8x8", matmul_nn_1x2x3: "r16x8_4N", matmul_tn_1x2x3: "r1x1" },
      warning: null,
    });
    assert.deepEqual((await readChoices("b")).choices, { matmul_nt_1x2x3: "t32x32x8_r4x4" });
    assert.lengthOf(await files(), 2);
  });

  it("are left alone with a warning if their file is damaged, and replaced by the next choices", async () => {
    const file = await writeChoices("a", { matmul_nt_1x2x3: "r8x8" });
    const whole = await readFile(file, "utf8");
    for (const [damage, reason] of [
      [whole.slice(0, -5), /JSON/],
      ["", /JSON/],
      ["null", /something else/],
      [whole.replace('"a"', '"b"'), /something else/],
      [whole.replace('"r8x8"', "8"), /something else/],
    ] as const) {
      await writeFile(file, damage);
      const { choices, warning } = await readChoices("a");
      assert.deepEqual(choices, {});
      assert.include(warning!, file);
      assert.match(warning!, reason);
    }
    await writeChoices("a", { matmul_nt_1x2x3: "r4x4" });
    assert.deepEqual(await readChoices("a"), { choices: { matmul_nt_1x2x3: "r4x4" }, warning: null });
  });

  it("say that they cannot be stored, and leave nothing half-written", async () => {
    const file = await writeChoices("a", { matmul_nt_1x2x3: "r8x8" });
    await rm(file);
    await mkdir(file);
    const error = await writeChoices("a", {}).then(
      () => null,
      (e: unknown) => e,
    );
    assert.instanceOf(error, Error);
    assert.lengthOf(await files(), 1);
  });

  it("are measured by hrm train --autotune, recorded with the run, kept, and repeated on resume @slow", async function () {
    this.timeout(200_000);
    const plan = [
      ...["train", "--autotune", "--autotune-seconds", "4", "--adapter", "software", "--steps", "4"],
      ...["--stop-after", "2", "--batch", "2"],
      ...["--hidden_size", "8", "--num_heads", "2", "--L_cycles", "1", "--eval-limit", "2", "--out", folder],
    ];
    const choicesOf = async (name: string, step: number): Promise<Readonly<Record<string, string>>> => {
      const file = join(folder, name, `checkpoints/step-0000000${step}.safetensors`);
      return decodeCheckpoint(new Uint8Array(await readFile(file))).run!.kernels;
    };
    const first = await run(folder, ...plan);
    assert.equal(first.code, 0, first.stderr);
    const measured = Number(/^kernels {3}(\d+) kernels measured in /m.exec(first.stderr)![1]);
    assert.isAtLeast(measured, 1);
    const choices = await choicesOf("sudoku4-seed0", 2);
    for (const name of Object.keys(choices)) assert.match(name, /^(matmul|attention)_/);
    // Of what was measured for validation alone, the step's programs have nothing.
    assert.isAtMost(Object.keys(choices).length, measured);
    assert.isAtLeast(Object.keys(choices).length, 1);

    const resumed = await run(
      folder,
      "train",
      "--resume",
      join(folder, "sudoku4-seed0"),
      "--stop-after",
      "3",
    );
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.notMatch(resumed.stderr, /^(kernels|warning) /m);
    assert.deepEqual(await choicesOf("sudoku4-seed0", 3), choices);

    const [file] = await files();
    const kept = JSON.parse(await readFile(join(folder, "hrm-webgpu/kernel-choices", file!), "utf8")) as {
      choices: Record<string, string>;
    };
    assert.lengthOf(Object.keys(kept.choices), measured);
    assert.deepEqual({ ...kept.choices, ...choices }, kept.choices);
    const again = await run(folder, ...plan);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stderr, new RegExp(`, ${measured} known from before`));
  });
});
