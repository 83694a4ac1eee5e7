/** Attention on subgroup matrices: on the device's own where it has them, emulated everywhere. */
import { assert } from "chai";
import type { Device } from "../../engine/index.js";
import { SUBGROUP_MATRIX_FEATURE, subgroupMatrices } from "../../engine/mixed_precision.js";
import { runKernel } from "../../engine/run_kernel.js";
import type { AttentionSpec } from "../../kernels/attention_spec.js";
import {
  attentionMatrices,
  attentionTiles,
  type AttentionTile,
} from "../../kernels/attention_subgroup_matrices.js";
import { baselineCapabilities, type Kernel } from "../../kernels/kernel.js";
import type { SubgroupMatrices } from "../../kernels/matmul_subgroup_matrices.js";
import { attentionReference } from "../support/attention.js";
import { testDevice } from "../support/device.js";
import { assertRefused, logError } from "../support/kernels.js";
import { openTestDevice } from "../support/platform.js";
import { assertClose, poisoned, random } from "../support/random.js";
import { turned } from "../support/rope.js";
import { emulated, EMULATED } from "../support/subgroup_matrices.js";

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
}

/** Runs forward on poisoned memory and compares with float64. */
async function check(
  device: Device,
  spec: AttentionSpec,
  matrices: SubgroupMatrices,
  { of = (kernel) => kernel, rounding = 0, amplitude = 1, tile }: CheckOptions = {},
): Promise<void> {
  const { batch, length, heads, headDim } = spec;
  const rows = batch * length * heads;
  const qkv = random(3 * rows * headDim, -amplitude, amplitude);
  const dO = random(rows * headDim);
  const tables = { cos: random(length * headDim), sin: random(length * headDim) };
  const turning = spec.rope ? { cos_table: tables.cos, sin_table: tables.sin } : {};
  const exact = attentionReference(
    spec,
    spec.rope ? turned({ ...spec, inverse: false }, qkv, tables) : qkv,
    dO,
  );
  const kernel = of(attentionMatrices(spec, device.capabilities, matrices, tile));
  const { o, lse } = await runKernel(device, kernel, {
    ...{ qkv, ...turning },
    ...{ o: poisoned(rows * headDim), lse: poisoned(rows) },
  });
  // Turned numbers are sums that may cancel.
  const f32 = exact.allowed * (spec.rope ? 4 : 1);
  // Both factors of a score are rounded, which its probability and the sum of all inherit; so are probability and value.
  const scores = 2 * rounding * exact.scoreScale;
  const tiny = F16_TINY * length * amplitude;
  assertClose(o!, exact.o, (i) => (f32 + 2 * scores + 2 * rounding) * exact.oScale[i]! + tiny, kernel.name);
  assertClose(lse!, exact.lse, (i) => f32 + scores + logError(exact.lse[i]!), `${kernel.name} lse`);
}

describe("attention on subgroup matrices", () => {
  describe("emulated", () => {
    const shared = { ...EMULATED, subgroupSize: 8 };
    const small: readonly AttentionSpec[] = [
      { batch: 1, length: 1, heads: 1, headDim: 16 },
      { batch: 2, length: 8, heads: 3, headDim: 16 },
      { batch: 2, length: 7, heads: 2, headDim: 16, causal: true },
      { batch: 1, length: 6, heads: 2, headDim: 16, rope: true, halves: ["qkv", "o"] },
      { batch: 1, length: 5, heads: 1, headDim: 48, rope: true, causal: true },
    ];
    for (const spec of small)
      it(`agrees with float64 in one tile: ${JSON.stringify(spec)}${spec.headDim > 16 ? " @slow" : ""}`, async () => {
        const device = await testDevice();
        await check(device, spec, EMULATED, { of: emulated });
      });
    for (const buffers of [1, 2] as const)
      it(`agrees with float64 in several tiles, ${buffers} at a time`, async () => {
        const device = await testDevice();
        const tile = { subgroups: 2, keys: 8, buffers };
        const spec = { batch: 2, length: 19, heads: 2, headDim: 16 };
        await check(device, spec, EMULATED, { of: emulated, tile });
        await check(device, { ...spec, causal: true, rope: true }, EMULATED, { of: emulated, tile });
      });
    it("shares rows among threads of a subgroup", async function () {
      const device = await testDevice();
      if (!device.capabilities.subgroups) {
        console.log(`      skipped: ${device.adapter.name} has no subgroups`);
        this.skip();
      }
      const spec = { batch: 1, length: 19, heads: 2, headDim: 16 };
      await check(device, spec, shared, { of: emulated, tile: { subgroups: 5, keys: 24, buffers: 2 } });
      const tile = { subgroups: 2, keys: 8, buffers: 1 } as const;
      await check(device, { ...spec, causal: true }, shared, { of: emulated, tile });
    });
    it("stands scores in the hundreds", async () => {
      const device = await testDevice();
      const tile = { subgroups: 1, keys: 8, buffers: 2 } as const;
      const spec = { batch: 1, length: 13, heads: 2, headDim: 16 };
      await check(device, spec, EMULATED, { of: emulated, amplitude: 12, tile });
    });
  });

  it("takes tiles that the device has the memory and the threads for", () => {
    const tensorCores = { M: 16, N: 16, K: 16, component: "f16", subgroupSize: 32 } as const;
    const large = {
      ...baselineCapabilities,
      maxComputeWorkgroupStorageSize: 49152,
      maxComputeInvocationsPerWorkgroup: 1024,
    };
    const spec = { batch: 384, length: 82, heads: 8, headDim: 64 };
    assert.deepEqual(attentionTiles(spec, large, tensorCores)[0], { subgroups: 6, keys: 96, buffers: 2 });
    for (const limited of [{ ...large, maxComputeInvocationsPerWorkgroup: 128 }, baselineCapabilities])
      for (const tile of attentionTiles(spec, limited, tensorCores)) assert.isAtMost(tile.subgroups, 4);
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
      device = await openTestDevice({ experimental: true });
      if (device.adapter.features.includes(SUBGROUP_MATRIX_FEATURE)) matrices = subgroupMatrices(device);
      else {
        console.log(`      skipped: ${device.adapter.name} has no ${SUBGROUP_MATRIX_FEATURE}`);
        this.skip();
      }
    });
    after(() => device.destroy());

    for (const spec of [
      { batch: 2, length: 9, heads: 2, headDim: 16 },
      { batch: 1, length: 82, heads: 2, headDim: 64, rope: true },
      { batch: 1, length: 225, heads: 1, headDim: 32, causal: true },
    ])
      it(`agrees with float64 within what rounding allows: ${JSON.stringify(spec)} @slow`, async function () {
        this.timeout(600_000);
        await check(device, spec, matrices, { rounding: F16_EPS });
      });
  });
});
