import { assert } from "chai";
import { runKernel } from "../../engine/run_kernel.js";
import { gatherPacked } from "../../kernels/gather.js";
import {
  randomPermutations,
  randomPermutationsReference,
  shuffledIndex,
  shuffledIndexReference,
} from "../../kernels/permutation.js";
import { testDevice } from "../support/device.js";
import { poisonedIntegers, randomIntegers, uniform } from "../support/random.js";

const word = (): number => Math.floor(uniform() * 2 ** 32);

describe("random permutations", () => {
  for (const [rows, items] of [
    [1, 1],
    [1, 2],
    [3, 3],
    [64, 9],
    [65, 6],
    [130, 64],
    [2, 200],
  ] as const) {
    it(`${rows} of ${items} items equal the reference, and each permutation is complete`, async () => {
      const device = await testDevice();
      const spec = { rows, items, stream: word() };
      const key = Uint32Array.of(word(), word());
      const { y } = await runKernel(device, randomPermutations(spec, device.capabilities), {
        key,
        y: poisonedIntegers(rows * items),
      });
      assert.deepEqual([...y!], [...randomPermutationsReference(spec, [key[0]!, key[1]!])]);
      for (let row = 0; row < rows; row++)
        assert.equal(new Set(y!.subarray(row * items, (row + 1) * items)).size, items);
    });
  }

  it("all orders of 4 items come equally often", () => {
    const rows = 24000;
    const y = randomPermutationsReference({ rows, items: 4, stream: 1 }, [word(), word()]);
    const counts = new Map<string, number>();
    for (let row = 0; row < rows; row++) {
      const order = y.subarray(row * 4, row * 4 + 4).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    assert.equal(counts.size, 24);
    // Chi-squared with 23 degrees of freedom exceeds 68 once in 3 million runs.
    const chi = [...counts.values()].reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
    assert.isBelow(chi, 68);
  });
});

describe("shuffled index", () => {
  for (const size of [1, 2, 3, 5, 16, 17, 64, 100, 257, 1000, 4097]) {
    it(`of ${size} items: every epoch takes each once, as the reference does`, async () => {
      const device = await testDevice();
      const first = Math.floor(uniform() * 1000) * size;
      const count = 2 * size + 3;
      const draws = Uint32Array.from({ length: count }, (_, i) => first + i);
      const spec = { count, size, stream: word() };
      const key = Uint32Array.of(word(), word());
      const { y } = await runKernel(device, shuffledIndex(spec, device.capabilities), {
        key,
        draws,
        y: poisonedIntegers(count),
      });
      assert.deepEqual([...y!], [...shuffledIndexReference(spec, key[0]!, draws)]);
      const epochs = [y!.subarray(0, size), y!.subarray(size, 2 * size)];
      for (const epoch of epochs) {
        assert.equal(new Set(epoch).size, size);
        assert.isTrue(epoch.every((item) => item >= 0 && item < size));
      }
      if (size >= 16) assert.notDeepEqual([...epochs[0]!], [...epochs[1]!]);
    });
  }

  it("stays exact for draws near 2^32 and sizes near 2^31", async () => {
    const device = await testDevice();
    for (const size of [2 ** 31 - 1, 2 ** 30 + 1, 7]) {
      const draws = Uint32Array.of(2 ** 32 - 1, 2 ** 32 - 2, 2 ** 31, 0, word());
      const spec = { count: draws.length, size, stream: 3 };
      const key = Uint32Array.of(word(), 0);
      const { y } = await runKernel(device, shuffledIndex(spec, device.capabilities), {
        key,
        draws,
        y: poisonedIntegers(draws.length),
      });
      assert.deepEqual([...y!], [...shuffledIndexReference(spec, key[0]!, draws)]);
    }
  });

  it("makes items and places independent: each item is first about equally often", () => {
    const size = 10;
    const epochs = 10000;
    const draws = Float64Array.from({ length: epochs }, (_, e) => e * size);
    const firsts = shuffledIndexReference({ count: epochs, size, stream: 5 }, word(), draws);
    const counts = new Float64Array(size);
    for (const item of firsts) counts[item]!++;
    // Chi-squared with 9 degrees of freedom exceeds 45 once in a million runs.
    assert.isBelow(
      counts.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0),
      45,
    );
  });
});

describe("gathers of single elements", () => {
  for (const bits of [8, 16, 32] as const) {
    for (const [elements, count] of [
      [1, 1],
      [5, 64],
      [64, 65],
      [203, 130],
    ] as const) {
      it(`takes ${count} of ${elements} packed elements of ${bits} bits, signs and range kept`, async () => {
        const device = await testDevice();
        const limit = 2 ** (bits - 1);
        const values = randomIntegers(elements, -limit, limit);
        const packed = { 8: Int8Array, 16: Int16Array, 32: Int32Array }[bits].from(values);
        const padded = new Uint8Array(4 * Math.ceil(packed.byteLength / 4)).fill(0xee);
        padded.set(new Uint8Array(packed.buffer));
        const indices = randomIntegers(count, -2, elements + 2);
        const { y } = await runKernel(device, gatherPacked({ count, elements, bits }, device.capabilities), {
          table: new Uint32Array(padded.buffer),
          indices,
          y: poisonedIntegers(count),
        });
        assert.deepEqual(
          [...y!],
          Array.from(indices, (i) => values[i] ?? 0),
        );
      });
    }
  }
});
