import { assert } from "chai";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import { randomBits, randomBitsReference, threefry2x32, type RandomSpec } from "../../kernels/random.js";
import { VARIANTS, assertExact, assertRefused, runPoisoned } from "../support/kernels.js";
import { randomIntegers } from "../support/random.js";

const word = (): number => randomIntegers(1, 0, 2 ** 32)[0]! >>> 0;

async function draw(
  spec: RandomSpec,
  key: readonly [number, number],
  capabilities: Partial<Capabilities> = {},
): Promise<Uint32Array> {
  const { kernel, results } = await runPoisoned(
    (c) => randomBits(spec, c),
    capabilities,
    { key: Uint32Array.from(key) },
    { bits: spec.count },
  );
  assertExact(results["bits"]!, randomBitsReference(spec, key), kernel.name);
  return results["bits"] as Uint32Array;
}

describe("random", () => {
  it("is Threefry-2x32-20: the known answers of Random123", () => {
    // Counter, key and result as in the authors' kat_vectors.
    for (const [counter, key, expected] of [
      [
        [0, 0],
        [0, 0],
        [0x6b200159, 0x99ba4efe],
      ],
      [
        [0xffffffff, 0xffffffff],
        [0xffffffff, 0xffffffff],
        [0x1cb996fc, 0xbb002be7],
      ],
      [
        [0x243f6a88, 0x85a308d3],
        [0x13198a2e, 0x03707344],
        [0xc4923a9c, 0x483df7a0],
      ],
    ] as const)
      assert.deepEqual(threefry2x32(key, counter), [...expected]);
  });

  it("gives the first known answer on the GPU", async () => {
    assert.deepEqual([...(await draw({ count: 2, stream: 0 }, [0, 0]))], [0x6b200159, 0x99ba4efe]);
  });

  for (const { variant, software } of VARIANTS) {
    it(`draws on the GPU what the host draws ${variant}`, async () => {
      for (const count of [1, 2, 3, 127, 128, 129, 257])
        await draw({ count, stream: word() }, [word(), word()], { software });
      await draw({ count: 5, stream: 2 ** 32 - 1 }, [2 ** 32 - 1, 2 ** 32 - 1], { software });
    });
    it(`folds dispatches past the limit ${variant}`, async () => {
      const limits = { software, maxComputeWorkgroupsPerDimension: 3 };
      await draw({ count: 901, stream: word() }, [word(), word()], limits);
    });
  }

  it("shares no draws between seeds, steps and streams", async () => {
    const [seed, step, stream] = [word(), word(), word()];
    const other = (x: number): number => (x + 1) >>> 0;
    const draws = await Promise.all([
      draw({ count: 500, stream }, [seed, step]),
      draw({ count: 500, stream }, [other(seed), step]),
      draw({ count: 500, stream }, [seed, other(step)]),
      draw({ count: 500, stream: other(stream) }, [seed, step]),
    ]);
    // 2,000 words of 32 bits: a chance meeting has probability 2000^2 / 2^33, but four have 1e-14.
    const distinct = new Set(draws.flatMap((bits) => [...bits]));
    assert.isAtLeast(distinct.size, 2000 - 3);
  });

  it("is uniform in every bit and every sixteenth", async () => {
    const count = 2 ** 16;
    const bits = await draw({ count, stream: word() }, [word(), word()]);
    // None of the 32 bits and 31 pairs of neighbours may be off by 7 standard deviations, which happens in one run of 1e10.
    const allowed = (7 * Math.sqrt(count)) / 2;
    for (let b = 0; b < 32; b++) {
      const ones = bits.reduce((n, w) => n + ((w >>> b) & 1), 0);
      assert.closeTo(ones, count / 2, allowed, `bit ${b}`);
      const equal = bits.reduce((n, w, i) => n + (((w ^ bits[(i + 1) % count]!) >>> b) & 1), 0);
      assert.closeTo(equal, count / 2, allowed, `bit ${b} of neighbouring words`);
    }
    const cells = new Float64Array(16);
    for (const w of bits) cells[w >>> 28]!++;
    const expected = count / 16;
    const chiSquare = cells.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
    // 15 degrees of freedom: above 80 once in 1e10 runs; below 0.3 once in 1e10 too.
    assert.isBelow(chiSquare, 80);
    assert.isAbove(chiSquare, 0.3);
  });

  it("counts the bytes", () => {
    assert.equal(randomBits({ count: 10, stream: 0 }, baselineCapabilities).bytes, 4 * (10 + 2));
  });

  it("refuses streams that are no u32", () => {
    for (const stream of [-1, 0.5, NaN, 2 ** 32])
      assertRefused(() => randomBits({ count: 1, stream }, baselineCapabilities), /stream = /);
  });
});
