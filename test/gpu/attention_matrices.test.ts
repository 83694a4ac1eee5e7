/** Attention on subgroup matrices: emulated on every device, and on the device's own matrices if it has them. */
import { assert } from "chai";
import type { Device } from "../../engine/index.js";
import { SUBGROUP_MATRIX_FEATURE, subgroupMatrices } from "../../engine/mixed_precision.js";
import { runKernel } from "../../engine/run_kernel.js";
import type { AttentionSpec } from "../../kernels/attention/spec.js";
import {
  attentionBackwardMatrices,
  attentionBackwardTiles,
} from "../../kernels/attention/matrices_backward.js";
import { attentionMatrices, attentionTiles } from "../../kernels/attention/matrices_forward.js";
import type { AttentionTile } from "../../kernels/attention/matrices.js";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import type { Kernel } from "../../kernels/core/kernel.js";
import { GRADIENT_SCALE } from "../../kernels/core/kernel.js";
import type { SubgroupMatrices } from "../../kernels/matmul/spec.js";
import { turnedReference } from "../support/attention.js";
import { testDevice } from "../support/device.js";
import { packed, rounded, unpacked } from "../support/f16.js";
import { assertRefused, logError } from "../support/kernels.js";
import { openTestDevice } from "../support/platform.js";
import { assertClose, largest, poisoned, random } from "../support/random.js";
import { emulated, EMULATED, whereEmulated } from "../support/subgroup_matrices.js";

/** Relative error of a number that was rounded to either of its neighbours in f16. */
const F16_EPS = 2 ** -10;
/** Below 2^-14 f16 loses digits: the largest absolute error there. */
const F16_TINY = 2 ** -24;

interface CheckOptions {
  readonly of?: (kernel: Kernel) => Kernel;
  /** Relative error of what is rounded. */
  readonly rounding?: number;
  readonly amplitude?: number;
  readonly tile?: AttentionTile;
  readonly backwardTile?: AttentionTile;
  readonly limits?: Partial<Capabilities>;
}

/** Whether the kernel stores this buffer in f16. */
const inHalf = (kernel: Kernel, name: string): boolean =>
  kernel.bindings.some((b) => b.name === name && b.dtype === "f16");

/** Size of gradients: without the scale, f16 would keep few of their digits. */
const SLOPE = 2 ** -14;

/** Runs forward, and backward from what forward saved, on poisoned memory; compares with float64. */
async function check(
  device: Device,
  spec: AttentionSpec,
  matrices: SubgroupMatrices,
  { of = (kernel) => kernel, rounding = 0, amplitude = 1, tile, backwardTile, limits }: CheckOptions = {},
): Promise<void> {
  const { batch, length, heads, headDim } = spec;
  const rows = batch * length * heads;
  const drawn = random(3 * rows * headDim, -amplitude, amplitude);
  const qkv = spec.halves?.includes("qkv") ? rounded(drawn) : drawn;
  const dO = random(rows * headDim, -SLOPE, SLOPE);
  const tables = { cos: random(length * headDim), sin: random(length * headDim) };
  const turning = spec.rope ? { cos_table: tables.cos, sin_table: tables.sin } : {};
  const exact = turnedReference(spec, qkv, dO, tables);
  const capabilities = { ...device.capabilities, ...limits };
  const kernel = of(attentionMatrices(spec, capabilities, matrices, tile));
  const input = (by: Kernel) => ({ qkv: inHalf(by, "qkv") ? packed(qkv) : qkv, ...turning });
  const noO = poisoned(rows * headDim);
  const results = await runKernel(device, kernel, {
    ...input(kernel),
    ...{ o: inHalf(kernel, "o") ? packed(noO) : noO, lse: poisoned(rows) },
  });
  const { lse } = results;
  const o = inHalf(kernel, "o") ? unpacked(results["o"]!, noO.length) : results["o"];
  // Turned numbers are sums that may cancel.
  const f32 = exact.allowed * (spec.rope ? 4 : 1);
  // Both factors of a score are rounded, which its probability and the sum of all inherit; so are probability, value and perhaps the result.
  const scores = 2 * rounding * exact.scoreScale;
  const tiny = F16_TINY * length * amplitude;
  assertClose(o!, exact.o, (i) => (f32 + 2 * scores + 3 * rounding) * exact.oScale[i]! + tiny, kernel.name);
  const lseAllowed = (i: number) => f32 + scores + logError(exact.lse[i]!);
  assertClose(lse!, exact.lse, lseAllowed, `${kernel.name} lse`);

  const delta = Float32Array.from({ length: rows }, (_, row) => {
    const [b, h, s] = [Math.floor(row / (heads * length)), Math.floor(row / length) % heads, row % length];
    const at = ((b * length + s) * heads + h) * headDim;
    return dO.subarray(at, at + headDim).reduce((sum, x, e) => sum + x * o![at + e]!, 0);
  });
  const backward = of(attentionBackwardMatrices(spec, capabilities, matrices, backwardTile ?? tile));
  const { d_qkv } = await runKernel(device, backward, {
    ...input(backward),
    ...{ d_o: dO, lse: lse!, delta },
    d_qkv: poisoned(qkv.length),
  });
  // Probabilities inherit what scores and lse are off by, and deltas that once more. Rounded are: d_o and v in slopes, o by p
  // and v in deltas, the score gradient, and the query, key or d_o that it multiplies;
  // and what stores o.
  const factor = 4 * f32 + 2 * largest(Float64Array.from(exact.lse, (_, i) => lseAllowed(i))) + 4 * scores;
  // Small probabilities times gradients, and small score gradients times queries and keys.
  const flushed = F16_TINY * length * (SLOPE + amplitude / GRADIENT_SCALE);
  assertClose(d_qkv!, exact.d, (i) => (factor + 7 * rounding) * exact.dScale[i]! + flushed, backward.name);
}

describe("attention on subgroup matrices", () => {
  describe("emulated", () => {
    before(whereEmulated);
    const shared = { ...EMULATED, subgroupSize: 8 };
    const headDim = 16;
    /** Two matrices wide: as narrow as heads may be that are turned. */
    const narrow = 8;
    it("agrees with float64, rotated and stored in f16 @slow", async () => {
      const device = await testDevice();
      // Forward takes all positions at a time, which needs another text. Backward takes few, which a CPU compiles faster.
      const spec = { batch: 1, length: 6, heads: 2, headDim, rope: true, halves: ["qkv", "o"] };
      const backwardTile = { subgroups: 1, keys: 4, buffers: 1 } as const;
      await check(device, spec, { ...EMULATED, subgroupSize: 4 }, { of: emulated, backwardTile });
    });
    it("agrees with float64 in several tiles, two at a time @slow", async () => {
      const device = await testDevice();
      const tile = { subgroups: 2, keys: 8, buffers: 2 } as const;
      const spec = { batch: 2, length: 19, heads: 2, headDim: narrow, causal: true, rope: true };
      await check(device, spec, EMULATED, { of: emulated, tile });
    });
    it("shares rows among threads of a subgroup @slow", async function () {
      const device = await testDevice();
      if (!device.capabilities.subgroups) {
        console.log(`      skipped: ${device.adapter.name} has no subgroups`);
        this.skip();
      }
      const spec = { batch: 1, length: 19, heads: 2, headDim };
      const tile = { subgroups: 2, keys: 8, buffers: 1 } as const;
      await check(device, { ...spec, causal: true }, shared, { of: emulated, tile });
    });
    it("is right for scores in the hundreds, and folds dispatches past the limit @slow", async () => {
      const device = await testDevice();
      const tile = { subgroups: 1, keys: 4, buffers: 2 } as const;
      const spec = { batch: 1, length: 13, heads: 2, headDim: narrow };
      const limits = { maxComputeWorkgroupsPerDimension: 5 };
      await check(device, spec, EMULATED, { of: emulated, amplitude: 12, tile, limits });
    });
  });

  it("takes tiles that the device has the memory and the threads for", () => {
    const tensorCores = { M: 16, N: 16, K: 16, component: "f16", subgroupSize: 32 } as const;
    const large = {
      ...baselineCapabilities,
      maxComputeWorkgroupStorageSize: 49152,
      maxComputeInvocationsPerWorkgroup: 1024,
      maxStorageBufferBindingSize: 2 ** 30,
    };
    const spec = { batch: 384, length: 82, heads: 8, headDim: 64 };
    assert.deepEqual(attentionTiles(spec, large, tensorCores)[0], { subgroups: 8, keys: 96, buffers: 1 });
    for (const limited of [{ ...large, maxComputeInvocationsPerWorkgroup: 128 }, baselineCapabilities])
      for (const tile of attentionTiles(spec, limited, tensorCores)) assert.isAtMost(tile.subgroups, 4);
    const halves = { ...spec, halves: ["qkv", "o"] };
    const vectors = 2 * 384 * 82 * 8 * 64;
    const bytes = (family: typeof attentionMatrices) =>
      family(spec, large, tensorCores).bytes - family(halves, large, tensorCores).bytes;
    assert.equal(bytes(attentionMatrices), 4 * vectors);
    assert.equal(bytes(attentionBackwardMatrices), 3 * vectors);
    const backward = attentionBackwardTiles({ ...spec, rope: true }, large, tensorCores);
    assert.deepEqual(backward[0], { subgroups: 4, keys: 48, buffers: 1 });
    assert.isEmpty(attentionBackwardTiles({ ...spec, headDim: 48, rope: true }, large, tensorCores));
    assert.isNotEmpty(attentionBackwardTiles({ ...spec, headDim: 48 }, large, tensorCores));
    assert.isEmpty(attentionTiles({ ...spec, headDim: 24 }, large, tensorCores));
    assert.isEmpty(attentionTiles({ ...spec, headDim: 144 }, large, tensorCores));
    assertRefused(
      () => attentionMatrices({ ...spec, headDim: 24 }, large, tensorCores),
      /sizes divide the head/,
    );
  });

  describe("on the device's own", () => {
    let device: Device;
    let matrices: SubgroupMatrices;
    before(async function () {
      device = await openTestDevice();
      if (device.adapter.features.includes(SUBGROUP_MATRIX_FEATURE)) matrices = subgroupMatrices(device);
      else {
        console.log(`      skipped: ${device.adapter.name} has no ${SUBGROUP_MATRIX_FEATURE}`);
        this.skip();
      }
    });
    after(() => device.destroy());

    for (const spec of [
      { batch: 2, length: 9, heads: 2, headDim: 16 },
      { batch: 2, length: 9, heads: 2, headDim: 32, rope: true, halves: ["qkv", "o"] },
      { batch: 1, length: 82, heads: 2, headDim: 32, rope: true },
      { batch: 1, length: 225, heads: 1, headDim: 16, causal: true },
    ])
      it(`agrees with float64 within the rounding errors: ${JSON.stringify(spec)} @slow`, async function () {
        this.timeout(600_000);
        await check(device, spec, matrices, { rounding: F16_EPS });
      });
  });
});
