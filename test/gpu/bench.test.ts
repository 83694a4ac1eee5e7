import { assert } from "chai";
import { measureCeilings } from "../../bench/core/ceilings.js";
import { kernelCases } from "../../bench/core/cases/index.js";
import { matmulCase } from "../../bench/core/cases/matmul.js";
import { MODEL_SHAPES } from "../../bench/core/cases/shapes.js";
import {
  BLOCK_STACKS,
  blockStackCase,
  blockStackShape,
  HRM_STEPS,
  trainingSteps,
} from "../../bench/core/cases/steps.js";
import { check, prepare, WrongResultError, type KernelCase } from "../../bench/core/kernel_case.js";
import { randomSource } from "../../bench/core/random.js";
import { runSuite } from "../../bench/core/suite.js";
import type { Effort } from "../../bench/core/sampling.js";
import { createStopwatch } from "../../engine/stopwatch.js";
import { findPreset } from "../../hrm/training/presets.js";
import { testDevice } from "../support/device.js";
import { stubDevice } from "../support/stub_device.js";
import { testSeed } from "../support/platform.js";

const EFFORT: Effort = { sampleMs: 1, minSamples: 3, maxSamples: 3, limitMs: 1 };
const product = matmulCase("test", { layout: "nt", M: 9, N: 12, K: 21 }, true);

/** The case with the text of its kernel changed. */
function spoiled(from: string, to: string): KernelCase {
  return {
    ...product,
    alternatives: (capabilities) =>
      product.alternatives(capabilities).map(({ variant, kernel }) => {
        assert.include(kernel.code, from);
        return { variant, kernel: { ...kernel, code: kernel.code.replaceAll(from, to) } };
      }),
  };
}

async function run(cases: readonly KernelCase[], more: { variants?: boolean; budget?: number } = {}) {
  return runSuite(await testDevice(), {
    quick: true,
    cases,
    steps: [],
    variants: more.variants ?? false,
    budget: more.budget ?? 10,
    seed: testSeed,
  });
}

describe("benchmark suite @slow", () => {
  it("measures ceilings that are finite and positive", async () => {
    const device = await testDevice();
    const stopwatch = createStopwatch(device);
    const { fmaF16, ...ceilings } = await measureCeilings(device, stopwatch, EFFORT);
    stopwatch.destroy();
    for (const [name, value] of Object.entries(ceilings)) {
      assert.isTrue(Number.isFinite(value) && value > 0, `${name} = ${value}`);
    }
    assert.equal(fmaF16 !== null, device.capabilities.shaderF16);
  });

  it("times correct kernels and leaves no buffer behind", async () => {
    const device = await testDevice();
    const before = device.stats.buffersLive;
    const { results, refused, skipped } = await run([product], { variants: true });
    assert.deepEqual([refused, skipped], [[], []]);
    assert.deepEqual(
      results.map((r) => r.variant),
      ["default", device.capabilities.software ? "gpu" : "software"],
    );
    for (const r of results) {
      assert.equal(r.compared, 9 * 12);
      assert.isAbove(r.maxError, 0);
      assert.isTrue(r.p10 <= r.ms && r.ms <= r.p90 && r.p10 > 0);
      assert.equal(r.flops, 2 * 9 * 12 * 21);
    }
    assert.equal(device.stats.buffersLive, before);
  });

  for (const [what, from, to, message] of [
    ["computes something else", "fma(", "1.01 * fma(", /expected/],
    ["writes nothing", "let c_row =", "if (workgroup.x < 1000u) { return; } let c_row =", /was not written/],
  ] as const) {
    it(`refuses a kernel that ${what}`, async () => {
      const { results, refused } = await run([spoiled(from, to)]);
      assert.deepEqual(results, []);
      assert.lengthOf(refused, 1);
      assert.match(refused[0]!.reason, message);
    });
  }

  it("refuses infinities wherever they stand", async () => {
    const device = await testDevice();
    const random = randomSource(testSeed);
    const data = prepare(product, random);
    const [alternative] = product.alternatives(device.capabilities);
    const infinite = { ...data.buffers, a: (data.buffers["a"] as Float32Array).slice() };
    infinite.a[30] = Infinity;
    await check(device, product, alternative!, { ...data, buffers: infinite }, random, 3).then(
      () => assert.fail("accepted"),
      (error: Error) => assert.instanceOf(error, WrongResultError),
    );
  });

  it("skips and names work above the budget", async () => {
    const { results, skipped } = await run([product], { budget: 1e-12 });
    assert.deepEqual(results, []);
    assert.match(skipped[0]!.reason, /GFLOP: about .* budget/);
  });

  it("has references that agree with every family at tiny32", async () => {
    const device = await testDevice();
    const cases = kernelCases.filter(({ shape }) => shape.startsWith("tiny32"));
    assert.isAtLeast(cases.length, 30);
    for (const one of cases) {
      const random = randomSource(testSeed);
      const data = prepare(one, random);
      for (const alternative of one.alternatives(device.capabilities).slice(0, 1)) {
        const { launch, compared } = await check(device, one, alternative, data, random, 64);
        launch.destroy();
        assert.isAbove(compared, 0, `${one.kernel} ${one.shape}`);
      }
    }
  });

  it("names every line once", () => {
    const names = [...kernelCases, ...trainingSteps].map(({ kernel, shape }) => `${kernel} ${shape}`);
    assert.lengthOf(new Set(names), names.length);
  });

  /** A step like those of the suite, of a stack that a software adapter compiles in seconds. */
  const smallStack = blockStackCase({ ...MODEL_SHAPES[0]!, batch: 4, layers: 2 });
  // What the program counts is the least the formula of the layers asks for, and not much more.
  const assertFlops = (flops: number, formula: number): void =>
    assert.isTrue(flops > 0.8 * formula && flops < 1.5 * formula, `${flops} FLOP`);

  it("lists block stacks that do the work that they say", async () => {
    const device = stubDevice();
    const stacks = trainingSteps.filter(({ kernel }) => kernel === "block_stack_step");
    assert.sameMembers(
      stacks.map(({ shape }) => shape),
      BLOCK_STACKS.map(blockStackShape),
    );
    for (const step of stacks) {
      const prepared = await step.create(device, testSeed);
      const { dispatches } = prepared.program.plan;
      assertFlops(
        dispatches.reduce((sum, { kernel }) => sum + kernel.flops, 0),
        step.flops,
      );
      prepared.destroy();
    }
    assert.equal(device.stats.buffersLive, 0);
  });

  it("takes steps and layers of presets from the presets", () => {
    for (const name of ["sudoku4", "sudoku4-official", "maze7", "sudoku9-easy"]) {
      const { model, train } = findPreset(name)!;
      const step = HRM_STEPS.find(({ shape }) => shape.startsWith(`${name} `))!;
      assert.deepEqual(step.config, model);
      assert.deepEqual(step.preset!.train, train);
    }
    const layers = MODEL_SHAPES.map(({ name, inner, classes }) => [name, inner, classes]);
    assert.deepEqual(layers.slice(0, 2), [
      ["tiny32", 96, 6],
      ["tiny64", 256, 6],
    ]);
  });

  for (const step of [smallStack, ...trainingSteps.filter(({ shape }) => shape.startsWith("sudoku4 "))]) {
    it(`checks and times ${step.kernel} ${step.shape}`, async () => {
      const device = await testDevice();
      const live = device.stats.buffersLive;
      const { results, refused } = await runSuite(device, {
        quick: true,
        cases: [],
        steps: [step],
        variants: false,
        budget: 100,
        seed: testSeed,
      });
      assert.deepEqual(refused, []);
      const { step: timed, maxError, tolerance, flops } = results[0]!;
      assert.isTrue(maxError > 0 && maxError <= tolerance);
      assertFlops(flops, step.flops);
      assert.isAbove(timed!.dispatches, 20);
      assert.isAbove(timed!.peakBytes, 100_000);
      assert.equal(
        timed!.split.reduce((sum, row) => sum + row.dispatches, 0),
        device.gpu.features.has("timestamp-query") ? timed!.dispatches : 0,
      );
      assert.equal(device.stats.buffersLive, live);
    });
  }
});
