import { assert } from "chai";
import { attention, type AttentionSpec } from "../../kernels/attention/choose.js";
import { attentionBackward, attentionDelta } from "../../kernels/attention/choose_backward.js";
import { runKernel } from "../../engine/run_kernel.js";
import { cpuKernels } from "../../kernels/cpu/index.js";
import { gpuKernels } from "../../kernels/gpu/index.js";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import { attention as attend, compile, f32, grad, mul, rope, sum, type Tensor } from "../../engine/index.js";
import { turnedReference } from "../support/attention.js";
import { testDevice } from "../support/device.js";
import { EPS, TINY, assertExact, assertRefused, logError, runPoisoned } from "../support/kernels.js";
import { assertClose, largest, random } from "../support/random.js";

async function check(
  spec: AttentionSpec,
  capabilities: Partial<Capabilities>,
  amplitude = 1,
): Promise<readonly string[]> {
  const { batch, length, heads, headDim } = spec;
  const rows = batch * length * heads;
  const qkv = random(3 * rows * headDim, -amplitude, amplitude);
  const dO = random(rows * headDim);
  // Any tables will do. Unlike the tables of RoPE, these differ between the two halves.
  const tables = { cos: random(length * headDim), sin: random(length * headDim) };
  const turning = spec.rope ? { cos_table: tables.cos, sin_table: tables.sin } : {};
  const exact = turnedReference(spec, qkv, dO, tables);
  // Turned numbers are sums that may cancel.
  if (spec.rope) exact.allowed *= 4;
  const forward = await runPoisoned(
    (c) => attention(spec, c),
    capabilities,
    { qkv, ...turning },
    { o: rows * headDim, lse: rows },
  );
  const { name } = forward.kernel;
  const o = forward.results["o"] as Float32Array;
  assertClose(o, exact.o, (i) => exact.allowed * exact.oScale[i]! + TINY, `${name} o`);
  const lse = forward.results["lse"] as Float32Array;
  assertClose(lse, exact.lse, (i) => exact.allowed + logError(exact.lse[i]!), `${name} lse`);

  // Backward from what forward saved, as in training.
  const made = await runPoisoned(
    (c) => attentionDelta(spec, c),
    capabilities,
    { o, d_o: dO },
    { delta: rows },
  );
  const delta = made.results["delta"] as Float32Array;
  const deltaAllowed = exact.allowed + EPS * headDim;
  assertClose(delta, exact.delta, (i) => deltaAllowed * exact.deltaScale[i]! + TINY, made.kernel.name);
  // Probabilities that became zero, times slopes and keys.
  const flushed = TINY * length * (1 + headDim * amplitude ** 2);
  const backward = await runPoisoned(
    (c) => attentionBackward(spec, c),
    capabilities,
    { qkv, d_o: dO, lse, delta, ...turning },
    { d_qkv: qkv.length },
  );
  // Every probability inherits what lse is off by.
  const factor = 2 * exact.allowed + logError(largest(lse));
  assertClose(
    backward.results["d_qkv"]!,
    exact.d,
    (i) => factor * exact.dScale[i]! + flushed,
    backward.kernel.name,
  );
  return [name, made.kernel.name, backward.kernel.name];
}

/** The variant with one or several positions per thread. GPUs without subgroups use it. */
const VARIANTS = [
  { variant: "for software adapters", capabilities: { software: true, subgroups: null } },
  { variant: "for GPUs", capabilities: { software: false, subgroups: null } },
] as const;

/** B, S, H, D for subgroups of four: full and partial trips and blocks, one to three per head, one to four positions per lane. */
const SHARED_SHAPES = [
  [1, 1, 1, 4],
  [2, 5, 3, 8],
  [2, 13, 1, 16],
] as const;
/** Causal specs, which only add a mask: the same number of positions per lane, with narrower heads. */
const CAUSAL_SHARED = [
  [1, 1, 1, 4],
  [2, 5, 3, 8],
  [2, 13, 1, 8],
] as const;
/** Specs that take seconds to compile. */
const LARGE_SHARED = [
  [1, 16, 2, 8],
  [1, 37, 2, 12],
  [1, 35, 1, 32],
] as const;

/** B, S, H, D: ones, primes, scalar and vector heads, and both sides of the 16- and 64-thread workgroups. */
const SHAPES = [
  [1, 1, 1, 1],
  [1, 2, 1, 4],
  [2, 7, 3, 5],
  [1, 15, 1, 8],
  [1, 16, 1, 6],
  [1, 17, 1, 4],
  [3, 21, 1, 12],
  [2, 8, 4, 16],
  [1, 13, 5, 7],
] as const;

/** Causal specs, which only add a mask of positions: the edges of these, with scalar and vector heads. */
const CAUSAL_SHAPES = [
  [1, 1, 1, 1],
  [2, 7, 3, 5],
  [1, 16, 1, 6],
  [1, 17, 1, 4],
  [3, 21, 1, 12],
] as const;

/** B, S, H, D for quads: blocks and tiles full and not, one and several of a head, one to four 4-vectors a lane. */
const QUAD_SHAPES = [
  [2, 5, 3, 16],
  [1, 17, 1, 32],
] as const;
/** Specs that software adapters take seconds to compile. */
const LARGE_QUADS: readonly AttentionSpec[] = [
  { batch: 1, length: 1, heads: 1, headDim: 16 },
  { batch: 1, length: 16, heads: 2, headDim: 32 },
  { batch: 2, length: 83, heads: 2, headDim: 16, causal: true },
  { batch: 1, length: 82, heads: 1, headDim: 64, rope: true },
  { batch: 1, length: 225, heads: 1, headDim: 48, causal: true },
];

describe("attention", () => {
  for (const { variant, capabilities } of VARIANTS) {
    const { software } = capabilities;
    for (const causal of [false, true]) {
      it(`agrees with float64, forward and backward, ${causal ? "causal, " : ""}${variant}${causal || software ? " @slow" : ""}`, async () => {
        for (const [batch, length, heads, headDim] of causal ? CAUSAL_SHAPES : SHAPES)
          await check({ batch, length, heads, headDim, causal }, capabilities);
      });
    }
    it(`is right for scores in the hundreds ${variant}`, async () => {
      await check({ batch: 1, length: 19, heads: 2, headDim: 8 }, capabilities, 12);
      await check({ batch: 1, length: 19, heads: 2, headDim: 8, causal: true }, capabilities, 12);
    });
    it(`folds dispatches past the limit ${variant}`, async () => {
      await check(
        { batch: 2, length: 37, heads: 3, headDim: 4 },
        { ...capabilities, maxComputeWorkgroupsPerDimension: software ? 5 : 3 },
      );
    });
    it(`agrees with float64 at a long sequence ${variant} @slow`, async () => {
      // The widest heads take a software adapter seconds to compile; there, two positions a thread are the edge.
      await check({ batch: 1, length: 225, heads: 2, headDim: software ? 16 : 64 }, capabilities);
    });
  }

  describe("by subgroups of four lanes on a CPU", () => {
    async function checkShared(spec: AttentionSpec, changed: Partial<Capabilities> = {}, amplitude = 1) {
      const [forward, , backward] = await check(spec, { software: true, ...changed }, amplitude);
      for (const name of [forward!, backward!]) assert.match(name, /_shared_x/);
    }
    before(async function () {
      const { adapter, capabilities } = await testDevice();
      if (capabilities.subgroups?.min === 4 && capabilities.subgroups.max === 4) return;
      console.log(`      skipped: subgroups of ${adapter.name} are not of four lanes`);
      this.skip();
    });
    for (const causal of [false, true]) {
      it(`agrees with float64, forward and backward${causal ? ", causal @slow" : ""}`, async () => {
        for (const [batch, length, heads, headDim] of causal ? CAUSAL_SHARED : SHARED_SHAPES)
          await checkShared({ batch, length, heads, headDim, causal });
      });
    }
    it("agrees with float64 in large kernels @slow", async () => {
      for (const [batch, length, heads, headDim] of LARGE_SHARED)
        await checkShared({ batch, length, heads, headDim });
    });
    it("is right for scores in the hundreds, causal, and folds dispatches past the limit", async () => {
      await checkShared(
        { batch: 2, length: 19, heads: 2, headDim: 8, causal: true },
        { maxComputeWorkgroupsPerDimension: 3 },
        12,
      );
    });
    it("is for heads and subgroups that four lanes divide", () => {
      const named = (changed: Partial<Capabilities>, headDim = 8) =>
        attention(
          { batch: 1, length: 9, heads: 1, headDim },
          {
            ...baselineCapabilities,
            software: true,
            cpu: cpuKernels,
            subgroups: { min: 4, max: 4 },
            ...changed,
          },
        ).name;
      assert.equal(named({}), "attention_b1_s9_h1_d8_shared_x3");
      for (const other of [
        named({ subgroups: null }),
        named({ subgroups: { min: 4, max: 8 } }),
        named({ subgroups: { min: 8, max: 8 } }),
        named({}, 6),
        named({}, 132),
      ])
        assert.notMatch(other, /shared/);
    });
  });

  describe("by quads of a subgroup", () => {
    /** With the device's own subgroups. */
    async function checkQuads(spec: AttentionSpec, changed: Partial<Capabilities> = {}, amplitude = 1) {
      for (const name of await check(spec, { software: false, ...changed }, amplitude))
        assert.match(name, /_quads/);
    }
    before(async function () {
      const { adapter, capabilities } = await testDevice();
      if (capabilities.subgroups) return;
      console.log(`      skipped: ${adapter.name} has no subgroups`);
      this.skip();
    });
    for (const causal of [false, true]) {
      it(`agrees with float64, forward and backward${causal ? ", causal @slow" : ""}`, async () => {
        // Causal with several positions a lane is below.
        for (const [batch, length, heads, headDim] of causal ? QUAD_SHAPES.slice(0, 1) : QUAD_SHAPES)
          await checkQuads({ batch, length, heads, headDim, causal });
      });
    }
    it("rotates queries and keys, and rotates their gradients back", async () => {
      await checkQuads({ batch: 2, length: 9, heads: 2, headDim: 32, rope: true });
    });
    it("finds the scores of forward to the bit: the only probability of a position by itself is 1", async () => {
      const spec = { batch: 1, length: 1, heads: 5, headDim: 32 };
      const size = 5 * 32;
      const changed = { software: false };
      const qkv = random(3 * size, -12, 12);
      const dO = random(size);
      const make = (family: typeof attention) => (c: Capabilities) => family(spec, c);
      const forward = await runPoisoned(make(attention), changed, { qkv }, { o: size, lse: 5 });
      const backward = await runPoisoned(
        make(attentionBackward),
        changed,
        { qkv, d_o: dO, lse: forward.results["lse"]!, delta: new Float32Array(5) },
        { d_qkv: 3 * size },
      );
      assertExact(backward.results["d_qkv"]!.subarray(2 * size), dO, `${backward.kernel.name} d_v`);
    });
    it("gives only NaN if the lanes of quads are not neighbours", async () => {
      const device = await testDevice();
      const spec = { batch: 1, length: 3, heads: 1, headDim: 16 };
      const kernel = attention(spec, { ...device.capabilities, software: false, gpu: gpuKernels });
      const code = kernel.code.replace("quadBroadcast(lane, 0u)", "quadBroadcast(lane, 1u)");
      assert.notEqual(code, kernel.code);
      const [o, lse] = [new Float32Array(48), new Float32Array(3)];
      const results = await runKernel(device, { ...kernel, code }, { qkv: random(3 * 48), o, lse });
      for (const name of ["o", "lse"])
        assert.isTrue([...(results[name] as Float32Array)].every(Number.isNaN), `${name} is NaN everywhere`);
    });
    for (const spec of LARGE_QUADS)
      it(`agrees with float64 in large kernels: ${spec.length} positions, heads of ${spec.headDim} @slow`, async () => {
        await checkQuads(spec);
      });
    it("is right for scores in the hundreds, causal, and folds dispatches past the limit", async () => {
      await checkQuads(
        { batch: 2, length: 19, heads: 2, headDim: 16, causal: true },
        { maxComputeWorkgroupsPerDimension: 3 },
        12,
      );
    });
  });

  it("takes quads on GPUs with subgroups for heads that they divide", () => {
    const named = (changed: Partial<Capabilities>, headDim = 64) =>
      attention(
        { batch: 1, length: 82, heads: 1, headDim },
        { ...baselineCapabilities, gpu: gpuKernels, subgroups: { min: 32, max: 32 }, ...changed },
      ).name;
    assert.equal(named({}), "attention_b1_s82_h1_d64_quads_x3");
    for (const other of [
      named({ software: true }),
      named({ subgroups: null }),
      named({ subgroups: { min: 2, max: 32 } }),
      named({}, 8),
    ])
      assert.notMatch(other, /quads/);
  });

  it("with rope equals attention after the rope kernel, with the same gradient", async () => {
    const device = await testDevice();
    const data = { x: random(2 * 2 * 192), dO: random(2 * 2 * 64), cos: random(2 * 32), sin: random(2 * 32) };
    for (const software of [true, false]) {
      // Quads rotate by themselves. Other variants need the rope kernel before and after.
      const target = { capabilities: { ...device.capabilities, software, gpu: gpuKernels } };
      const program = await compile(
        device,
        { x: f32(2, 2, 192), dO: f32(2, 2, 64), cos: f32(2, 32), sin: f32(2, 32) },
        ({ x, dO, cos, sin }) => {
          const fused = attend(x, { heads: 2, rope: { cos, sin } });
          const separate = attend(rope(x, cos, sin, { heads: 2 }), { heads: 2 });
          const gradient = (o: Tensor) => grad(sum(mul(o, dO)), x);
          return { fused, separate, d_fused: gradient(fused), d_separate: gradient(separate) };
        },
        { target },
      );
      await program.run(data);
      for (const d of ["", "d_"]) {
        const separate = await program.read(`${d}separate` as "separate");
        const fused = await program.read(`${d}fused` as "fused");
        if (software) assertExact(fused, separate, `${d}fused`);
        else assertClose(fused, separate, 200 * EPS * largest(separate), `${d}fused`);
      }
      const turns = program.plan.dispatches.filter(({ kernel }) => kernel.name.startsWith("rope"));
      assert.lengthOf(turns, software || !device.capabilities.subgroups ? 5 : 2);
      program.destroy();
    }
  });

  it("counts the work", () => {
    const spec = { batch: 2, length: 5, heads: 3, headDim: 8 };
    const all = 2 * 3 * 5 * 5;
    const past = 2 * 3 * 15;
    const elements = 2 * 5 * 3 * 8;
    assert.equal(attention(spec, baselineCapabilities).flops, 4 * 8 * all);
    assert.equal(attention({ ...spec, causal: true }, baselineCapabilities).flops, 4 * 8 * past);
    assert.equal(attention(spec, baselineCapabilities).bytes, 4 * (4 * elements + 30));
    // Scores, slopes and three gradients: five products of D multiply-adds a pair.
    assert.equal(attentionBackward(spec, baselineCapabilities).flops, 10 * 8 * all);
    assert.equal(attentionBackward(spec, baselineCapabilities).bytes, 4 * (7 * elements + 60));
    // Queries and keys are turned forward, and backward once more and back: two products and a sum an element.
    const quads = { ...baselineCapabilities, gpu: gpuKernels, subgroups: { min: 4, max: 4 } };
    const [still, turns] = [false, true].map((rope) => ({ ...spec, headDim: 32, rope }));
    for (const [make, times] of [
      [attention, 1],
      [attentionBackward, 2],
    ] as const) {
      const [without, kernel] = [make(still!, quads), make(turns!, quads)];
      assert.equal(kernel.flops - without.flops, times * 3 * 2 * 4 * elements);
      assert.equal(kernel.bytes - without.bytes, 4 * 2 * 5 * 32);
    }
    assert.equal(attentionDelta(spec, baselineCapabilities).flops, 2 * elements);
    assert.equal(attentionDelta(spec, baselineCapabilities).bytes, 4 * (2 * elements + 30));
  });

  it("says which size it refuses", () => {
    const spec = { batch: 1, length: 2, heads: 1, headDim: 4 };
    for (const make of [attention, attentionDelta, attentionBackward])
      assertRefused(() => make({ ...spec, headDim: 0 }, baselineCapabilities), /headDim = 0/);
    for (const make of [attention, attentionBackward])
      assertRefused(() => make({ ...spec, rope: true }, baselineCapabilities), /rope with head size 4/);
  });
});
