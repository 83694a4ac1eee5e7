/** Long work given up by its caller: it rejects with the signal's reason, frees what it made, and the device goes on. */
import { assert } from "chai";
import { autotune } from "../../engine/autotune.js";
import { compile, f32, matmul, mul, type Device } from "../../engine/index.js";
import {
  createEvaluator,
  createSession,
  createSolver,
  createTrainer,
  createWeights,
  initialState,
} from "../../hrm/index.js";
import { findPreset } from "../../hrm/training/presets.js";
import { testDevice } from "../support/device.js";
import { rejection } from "../support/rejection.js";
import { haltOnly, randomPuzzles, training } from "../support/tiny.js";

/** The reason of the signals below. Every waiting call must reject with this very object. */
const REASON = new Error("the visitor left");

/** The device computes as before, and holds as many buffers as before. */
async function assertUsable(device: Device, buffersBefore: number): Promise<void> {
  await device.gpu.queue.onSubmittedWorkDone();
  // Read-backs that were under way free their buffers once they are through.
  for (let i = 0; i < 200 && device.stats.buffersLive > buffersBefore; i++)
    await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(device.stats.buffersLive, buffersBefore);
  const program = await compile(device, { x: f32(2) }, ({ x }) => ({ y: mul(x, 3) }));
  assert.deepEqual([...(await program.call({ x: Float32Array.of(1, 2) })).y], [3, 6]);
  program.destroy();
}

describe("an AbortSignal", () => {
  it("ends compile before and during the creation of pipelines", async () => {
    const device = await testDevice();
    const before = device.stats.buffersLive;
    const start = (signal: AbortSignal): Promise<unknown> =>
      compile(device, { x: f32(33, 17) }, ({ x }) => ({ y: matmul(x, x, { transposeB: true }) }), { signal });
    assert.equal(await rejection(start(AbortSignal.abort(REASON))), REASON);
    const controller = new AbortController();
    const compiling = start(controller.signal);
    controller.abort(REASON);
    assert.equal(await rejection(compiling), REASON);
    await assertUsable(device, before);
  });

  it("ends call, whose program then serves the next caller", async () => {
    const device = await testDevice();
    const program = await compile(device, { x: f32(4) }, ({ x }) => ({ y: mul(x, 2) }));
    const before = device.stats.buffersLive;
    const controller = new AbortController();
    const calling = program.call({ x: new Float32Array(4) }, { signal: controller.signal });
    controller.abort(REASON);
    assert.equal(await rejection(calling), REASON);
    assert.deepEqual([...(await program.call({ x: new Float32Array(4).fill(1) })).y], [2, 2, 2, 2]);
    await assertUsable(device, before);
    program.destroy();
  });

  it("ends autotune", async () => {
    const device = await testDevice();
    const program = await compile(device, { x: f32(40, 24) }, ({ x }) => ({
      y: matmul(x, x, { transposeB: true }),
    }));
    const before = device.stats.buffersLive;
    const controller = new AbortController();
    const kernels = program.plan.dispatches.map(({ kernel }) => kernel);
    const tuning = autotune(device, kernels, { signal: controller.signal });
    controller.abort(REASON);
    assert.equal(await rejection(tuning), REASON);
    await assertUsable(device, before);
    program.destroy();
  });

  it("ends an evaluation between batches, and one that waits its turn at once @slow", async () => {
    const device = await testDevice();
    const weights = createWeights(device, haltOnly, initialState(haltOnly, 3));
    const data = randomPuzzles(20, haltOnly, 6);
    const evaluator = await createEvaluator({ device, config: haltOnly, weights, data });
    const before = device.stats.buffersLive;
    const expected = await evaluator.run();
    const [running, waiting] = [new AbortController(), new AbortController()];
    const runs = [running, waiting].map(({ signal }) => evaluator.run(20, { signal }));
    waiting.abort(REASON);
    assert.equal(await rejection(runs[1]!), REASON);
    running.abort(REASON);
    assert.equal(await rejection(runs[0]!), REASON);
    assert.deepEqual(await evaluator.run(), expected);
    await assertUsable(device, before);
    evaluator.destroy();
    for (const v of weights.values()) v.destroy();
  });

  it("ends a solver's puzzle after the segment in which it fires @slow", async () => {
    const device = await testDevice();
    const weights = createWeights(device, haltOnly, initialState(haltOnly, 3));
    const solver = await createSolver({ device, config: haltOnly, weights });
    const before = device.stats.buffersLive;
    const { inputs, length } = randomPuzzles(1, haltOnly, 5);
    const puzzle = inputs.slice(0, length);
    const expected = await solver.solve(puzzle, { segments: 6 });
    const controller = new AbortController();
    const seen: number[] = [];
    const solving = solver.solve(puzzle, {
      segments: 6,
      signal: controller.signal,
      onSegment(_, index) {
        seen.push(index);
        if (index === 2) controller.abort(REASON);
      },
    });
    assert.equal(await rejection(solving), REASON);
    assert.deepEqual(await solver.solve(puzzle, { segments: 6 }), expected);
    assert.deepEqual(seen, [0, 1, 2]);
    await assertUsable(device, before);
    solver.destroy();
    for (const v of weights.values()) v.destroy();
  });

  it("ends training between submissions @slow", async () => {
    const device = await testDevice();
    const before = device.stats.buffersLive;
    const controller = new AbortController();
    const options = {
      device,
      config: haltOnly,
      train: training,
      data: randomPuzzles(20, haltOnly, 6),
      seed: 1,
    };
    assert.equal(await rejection(createTrainer({ ...options, signal: AbortSignal.abort(REASON) })), REASON);
    const trainer = await createTrainer(options);
    const running = trainer.run(500, { signal: controller.signal });
    controller.abort(REASON);
    assert.equal(await rejection(running), REASON);
    const { step } = trainer;
    assert.isBelow(step, 500);
    assert.equal((await trainer.metrics()).at(-1)!.step, step);
    trainer.destroy();
    await assertUsable(device, before);
  });

  it("ends a session's preparation and its events @slow", async () => {
    const device = await testDevice();
    const before = device.stats.buffersLive;
    const preset = findPreset("sudoku4")!;
    const controller = new AbortController();
    const preparing = createSession({ device, preset, seed: 1, signal: controller.signal });
    controller.abort(REASON);
    assert.equal(await rejection(preparing), REASON);
    await assertUsable(device, before);
    const second = new AbortController();
    const session = await createSession({ device, preset, seed: 1, signal: second.signal });
    const events = session.events();
    assert.equal((await events.next()).value!.kind, "steps");
    second.abort(REASON);
    assert.equal(await rejection(events.next()), REASON);
    // What was trained until then can still be saved.
    assert.equal((await session.save()).step, 5);
    session.destroy();
    await assertUsable(device, before);
  });
});

describe("a solver", () => {
  it("stops after the first segment that believes its answer, and tells of each @slow", async () => {
    const device = await testDevice();
    const weights = createWeights(device, haltOnly, initialState(haltOnly, 3));
    const solver = await createSolver({ device, config: haltOnly, weights });
    const puzzle = randomPuzzles(1, haltOnly, 5).inputs.slice(0, haltOnly.seq_len);
    const all = await solver.solve(puzzle, { segments: 5 });
    const seen: number[] = [];
    const onSegment = ({ qHalt }: { readonly qHalt: number }): void => void seen.push(qHalt);
    // Below every q the first segment is the last one; above every q all segments run.
    const lowest = Math.min(...all.map(({ qHalt }) => qHalt));
    assert.lengthOf(await solver.solve(puzzle, { segments: 5, haltAbove: lowest - 1, onSegment }), 1);
    assert.deepEqual(await solver.solve(puzzle, { segments: 5, haltAbove: 1e9, onSegment }), all);
    assert.deepEqual(seen, [all[0]!.qHalt, ...all.map(({ qHalt }) => qHalt)]);
    solver.destroy();
    for (const v of weights.values()) v.destroy();
  });
});
