/** Lab and Engine of the page: amounts, times by family, the memory plan, and the program to embed. */
import { assert } from "chai";
import { byFamily } from "../../docs/playground/engine/families.js";
import { SNIPPET } from "../../docs/playground/engine/snippet.js";
import { bytesText, flopsText, secondsOfRun } from "../../docs/playground/lab/amounts.js";
import { cameraOf, verticesOf } from "../../docs/playground/figures/state_space/renderer.js";
import { turned, viewAfterKey } from "../../docs/playground/figures/state_space/canvas.js";
import { presetRun } from "../../docs/playground/run_config.js";
import { estimateRun } from "../../docs/playground/worker/estimate.js";
import { intervalsOf } from "../../docs/playground/worker/programs.js";
import { defaultTraits, targetOf } from "../../engine/planning.js";
import { compile, f32, matmul, mean } from "../../engine/index.js";
import { runFlops, trainingNeeds } from "../../hrm/training/memory_estimate.js";
import { findPreset } from "../../hrm/training/presets.js";
import { testDevice } from "../support/device.js";

const target = targetOf(defaultTraits);

describe("lab and engine of the page", () => {
  it("estimate a run as the command line does, and refuse in words", async () => {
    const preset = findPreset("sudoku4")!;
    const run = presetRun("sudoku4");
    const found = await estimateRun(target, run, { preset });
    assert.equal(found.parameters, 27586);
    const { model: config, train, task } = preset;
    const cells = new Int32Array(1000 * config.seq_len);
    const data = { count: 1000, length: 16, inputs: cells, labels: cells, identifiers: new Int32Array(1000) };
    const needs = { target, config, train, data, validation: data, symmetry: task.symmetry };
    assert.equal(found.flops, runFlops(needs).step);
    assert.deepEqual(found.memory, trainingNeeds(needs, config.batch_size));
    assert.equal(found.runFlops, found.flops);
    assert.equal(found.presetWork, found.flops * train.total_steps);
    const huge = await estimateRun(target, { ...run, fields: { hidden_size: 2 ** 20 } }, null);
    assert.match(huge.refused!, /Choose/);
    const wrong = await estimateRun(target, { ...run, fields: { hidden_size: 33 } }, null);
    assert.match(wrong.refused!, /a divisor of hidden_size/);
  });

  it("say how long a run takes from the measured speed, or from the preset's duration", () => {
    const run = { ...presetRun("sudoku4"), steps: 100 };
    const known = { run, flops: 2e6, runFlops: 1e6, presetWork: 4e8 };
    const at = (stepsPerSecond: number, software: boolean) =>
      secondsOfRun(known, { stepsPerSecond, software });
    // Twice the work at four steps a second.
    assert.equal(at(4, false), 50);
    assert.equal(at(NaN, false), null);
    // The preset takes a minute.
    assert.equal(at(NaN, true), (60 * 100 * 2e6) / 4e8);
    assert.equal(flopsText(77e6), "77 million operations");
    assert.equal(bytesText(1.44e6), "1.4 MB");
  });

  it("add the launches of a family up", () => {
    const kernel = { flops: 1, bytes: 1 };
    const rows = byFamily([
      { ...kernel, name: "a_1", family: "a", launches: 2, ms: 1, share: 0.5 },
      { ...kernel, name: "a_2", family: "a", launches: 1, ms: 4, share: 0.25 },
      { ...kernel, name: "b_1", family: "b", launches: 3, ms: 8, share: 0.1 },
    ]);
    assert.deepEqual(
      rows.map(({ family, launches, ms }) => [family, launches, ms]),
      [
        ["b", 3, 24],
        ["a", 3, 6],
      ],
    );
    assert.closeTo(rows[1]!.share, 6 / 30, 1e-12);
    assert.closeTo(rows[1]!.possible, 2 / 6, 1e-12);
  });

  it("draw the memory plan as the program has it: values of one slot never live at once", async () => {
    const device = await testDevice();
    const program = await compile(device, { a: f32(8, 8) }, ({ a }) => {
      let x = a;
      for (let i = 0; i < 5; i++) x = matmul(x, a);
      return { x: mean(x) };
    });
    const { dispatches, memory } = program.plan;
    const intervals = intervalsOf(dispatches, memory.slotOf);
    assert.isAbove(intervals.length, memory.slots.length);
    for (const one of intervals) {
      assert.isAtMost(one.bytes, memory.slots[one.slot]!);
      for (const other of intervals)
        if (other !== one && other.slot === one.slot)
          assert.isTrue(one.last < other.first || other.last < one.first);
    }
    program.destroy();
  });

  it("show a program of ten lines that runs", async () => {
    assert.isAtMost(SNIPPET.split("\n").length, 10);
    const device = await testDevice();
    const body = SNIPPET.replace(/^import.*$/m, "").replace(
      "console.log(c, middle[0]);",
      "return [c, middle[0]];",
    );
    // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call
    const result = (await new Function(
      ...["compile", "f32", "matmul", "mean", "openDevice"],
      `return (async () => {${body}})()`,
    )(compile, f32, matmul, mean, () => Promise.resolve(device))) as [Float32Array, number];
    // [1 2 3; 4 5 6] times [1 2; 3 4; 5 6].
    assert.deepEqual([...result[0]], [22, 28, 49, 64]);
    assert.closeTo(result[1], 163 / 4, 1e-4);
  });

  it("place trajectories in a unit ball, with their ends", () => {
    // Two puzzles, three updates.
    const points = Float32Array.of(0, 0, 0, 3, 0, 0, 1, 0, 0, 0, 4, 0, 2, 0, 0, 0, 0, 5);
    const { lines, marks } = verticesOf({ points, updates: 3, puzzles: 2, right: Uint8Array.of(1, 0) });
    assert.deepEqual(
      [...lines.slice(0, 16)].map((x) => Math.round(10 * x) / 10),
      [0, 0, 0, 0, 0.2, 0, 0, 0.5, 0.2, 0, 0, 0.5, 0.4, 0, 0, 1],
    );
    assert.deepEqual(
      [...marks].map((x) => Math.round(10 * x) / 10),
      [0.4, 0, 0, 1, 0, 0, 1, 0],
    );
  });

  it("look at the middle, and turn by keys as far as straight above", () => {
    const view = { yaw: 0.4, pitch: 0.2, distance: 3 };
    const camera = cameraOf(view, 1.5);
    // The middle of the scene is the middle of the picture.
    assert.closeTo(camera[12]!, 0, 1e-6);
    assert.closeTo(camera[13]!, 0, 1e-6);
    assert.closeTo(camera[15]!, 3, 1e-5);
    assert.isAbove(viewAfterKey(view, "ArrowRight")!.yaw, view.yaw);
    assert.isBelow(viewAfterKey(view, "+")!.distance, view.distance);
    assert.isNull(viewAfterKey(view, "Tab"));
    assert.isBelow(turned(view, 0, 9).pitch, Math.PI / 2);
  });
});
