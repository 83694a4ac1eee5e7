import { assert } from "chai";
import { add, assign, compile, f32, mul, UsageError, variable, type Program } from "../../engine/index.js";
import { createQueue } from "../../engine/queue.js";
import {
  createEvaluator,
  createSolver,
  createTrainer,
  createWeights,
  initialState,
  type SolvedSegment,
} from "../../hrm/index.js";
import { testDevice } from "../support/device.js";
import { rejection } from "../support/rejection.js";
import { haltOnly, official, randomPuzzles, training } from "../support/tiny.js";

/** y = 2 x and z = x + 1 on four numbers. */
async function double(): Promise<Program> {
  return compile(await testDevice(), { x: f32(4) }, ({ x }) => ({ y: mul(x, 2), z: add(x, 1) }), {
    name: "double",
  });
}

const filled = (value: number): Float32Array => new Float32Array(4).fill(value);

describe("callers of one program that overlap", () => {
  it("get their own outputs from call()", async () => {
    const program = await double();
    const caller = async (value: number): Promise<void> => {
      for (let i = 0; i < 10; i++) {
        const { y, z } = await program.call({ x: filled(value + i) });
        assert.deepEqual([...y!, ...z!], [...filled(2 * (value + i)), ...filled(value + i + 1)]);
      }
    };
    await Promise.all([0, 100, 200, 300].map(caller));
    program.destroy();
  });

  it("get outputs of their own that stay on the GPU from callOnGpu()", async () => {
    const program = await double();
    const { device } = program;
    const { stats } = device;
    const [live, readBacks] = [stats.buffersLive, stats.readbacks];
    const called = [0, 100, 200].map((value) => program.callOnGpu({ x: filled(value) }));
    // Runs after them change none of their outputs.
    await program.run({ x: filled(-1) });
    const outputs = await Promise.all(called);
    assert.equal(stats.readbacks, readBacks);
    const first = outputs[0]!.y!;
    const next = await compile(device, {}, () => ({ w: add(first, outputs[1]!.z!) }));
    assert.deepEqual([...(await next.call()).w], [...filled(101)]);
    for (const [i, { y, z }] of outputs.entries())
      assert.deepEqual(
        [...(await y!.read()), ...(await z!.read())],
        [...filled(200 * i), ...filled(100 * i + 1)],
      );
    next.destroy();
    // A signal that fires, and inputs that are refused, leave nothing behind.
    const abort = new AbortController();
    const given = program.callOnGpu({ x: filled(1) }, { signal: abort.signal });
    abort.abort(new Error("test error: given up"));
    assert.match((await rejection(given)).message, /given up/);
    assert.match((await rejection(program.callOnGpu())).message, /double\.callOnGpu: no value for x/);
    for (const { y, z } of outputs) for (const output of [y!, z!]) output.destroy();
    assert.equal(stats.buffersLive, live);
    program.destroy();
  });

  it("are never given another caller's output by run() and read()", async () => {
    const program = await double();
    let refused = 0;
    const caller = async (value: number): Promise<void> => {
      for (let i = 0; i < 10; i++) {
        await program.run({ x: filled(value + i) });
        for (const [name, expected] of [
          ["y", 2 * (value + i)],
          ["z", value + i + 1],
        ] as const)
          try {
            assert.deepEqual([...(await program.read(name))], [...filled(expected)]);
          } catch (error) {
            if (!(error instanceof UsageError)) throw error;
            assert.match(error.message, /double\.read: the last run began while another.*use call\(\)/s);
            refused++;
          }
      }
    };
    await Promise.all([0, 100, 200].map(caller));
    assert.isAbove(refused, 0);
    // A single caller is never refused, whatever happened before.
    refused = 0;
    await caller(400);
    assert.equal(refused, 0);
    program.destroy();
  });

  it("are refused a read if a call of another caller came between", async () => {
    const program = await double();
    const running = program.run({ x: filled(1) });
    const called = program.call({ x: filled(2) });
    await running;
    assert.instanceOf(await rejection(program.read("y")), UsageError);
    assert.deepEqual([...(await called)["y"]!], [...filled(4)]);
    program.destroy();
  });

  it("may submit runs without waiting, as far as nothing is read from them", async () => {
    const device = await testDevice();
    const total = variable(device, f32(1), "total");
    const program = await compile(device, {}, () => {
      assign(total, add(total, 1));
      return { now: total };
    });
    await Promise.all([program.run(), program.run({}, 3), program.run()]);
    assert.deepEqual([...(await total.read())], [5]);
    await program.run();
    assert.deepEqual([...(await program.read("now"))], [6]);
    program.destroy();
    total.destroy();
  });
});

describe("inputs never given and outputs never computed", () => {
  it("are refused, not taken for zeros", async () => {
    const program = await double();
    const cases: [() => Promise<unknown>, RegExp][] = [
      [() => program.read("y"), /double\.read: the program never ran/],
      [() => program.run(), /double\.run: no value for x f32\[4\]; give it with the call/],
      [() => program.call(), /double\.call: no value for x f32\[4\]/],
      [() => program.call({ x: new Float32Array(3) }), /double\.call: input x: got Float32Array\(3\)/],
      [() => program.read("y"), /double\.read: the program never ran/],
      [() => program.run({ constructor: filled(1) }), /no input "constructor"/],
    ];
    for (const [call, message] of cases) {
      const error = await rejection(call());
      assert.instanceOf(error, UsageError);
      assert.match(error.message, message);
    }
    await program.run({ x: filled(3) });
    // From now on the input has a value; call() wants its own.
    await program.run();
    assert.deepEqual([...(await program.read("y"))], [...filled(6)]);
    assert.match((await rejection(program.call())).message, /no value for x/);
    program.destroy();
  });
});

describe("a queue", () => {
  it("runs jobs in the order of the calls, even after a job that failed", async () => {
    const inTurn = createQueue();
    const log: string[] = [];
    const job = (name: string, ms: number) => async (): Promise<string> => {
      log.push(`${name} begins`);
      await new Promise((resolve) => setTimeout(resolve, ms));
      log.push(`${name} ends`);
      if (name === "b") throw new Error(name);
      return name;
    };
    const results = await Promise.allSettled([inTurn(job("a", 5)), inTurn(job("b", 1)), inTurn(job("c", 0))]);
    assert.deepEqual(log, ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
  });
});

describe("callers of one model that overlap", () => {
  it("get the answers to their own puzzles from a solver", async () => {
    const device = await testDevice();
    const weights = createWeights(device, official, initialState(official, 3));
    const solver = await createSolver({ device, config: official, weights });
    const { inputs, identifiers, length } = randomPuzzles(4, official, 5);
    const solve = (p: number): Promise<SolvedSegment[]> =>
      solver.solve(inputs.slice(p * length, (p + 1) * length), { identifier: identifiers[p]!, segments: 3 });
    const alone: SolvedSegment[][] = [];
    for (let p = 0; p < 4; p++) alone.push(await solve(p));
    const together = await Promise.all([0, 1, 2, 3].map(solve));
    assert.deepEqual(together, alone);
    assert.notDeepEqual(alone[0], alone[1]);
    // The caller's array may change once the call is made.
    const changing = inputs.slice(length, 2 * length);
    const first = solve(0);
    const second = solver.solve(changing, { identifier: identifiers[1]!, segments: 3 });
    changing.fill(0);
    assert.deepEqual([await first, await second], [alone[0], alone[1]]);
    solver.destroy();
    for (const v of weights.values()) v.destroy();
  });

  it("get the scores of their own puzzles from an evaluator", async () => {
    const device = await testDevice();
    const weights = createWeights(device, haltOnly, initialState(haltOnly, 3));
    const evaluator = await createEvaluator({
      device,
      config: haltOnly,
      weights,
      data: randomPuzzles(20, haltOnly, 6),
    });
    const limits = [20, 7, 13];
    const alone = [];
    for (const limit of limits) alone.push(await evaluator.run(limit));
    assert.deepEqual(await Promise.all(limits.map((limit) => evaluator.run(limit))), alone);
    evaluator.destroy();
    for (const v of weights.values()) v.destroy();
  });

  it("share the steps and metrics of a trainer", async () => {
    const device = await testDevice();
    const trainer = await createTrainer({
      device,
      config: haltOnly,
      train: { ...training, total_steps: 11 },
      data: randomPuzzles(20, haltOnly, 6),
      seed: 1,
    });
    const done = await Promise.all([trainer.run(8), trainer.run(8)]);
    assert.equal(done[0] + done[1], 11);
    assert.equal(trainer.step, 11);
    const [first, second] = await Promise.all([trainer.metrics(), trainer.metrics()]);
    assert.deepEqual(
      first.map(({ step }) => step),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    );
    assert.deepEqual(second, []);
    trainer.destroy();
  });
});
