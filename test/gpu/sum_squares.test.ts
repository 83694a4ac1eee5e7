import { assert } from "chai";
import { compile, variable } from "../../engine/index.js";
import { sumOfSquares } from "../../engine/norms.js";
import { baselineCapabilities } from "../../kernels/capabilities.js";
import { partialSums, sumSquares } from "../../kernels/sum_squares.js";
import { testDevice } from "../support/device.js";
import { EPS, VARIANTS, assertRefused, runPoisoned } from "../support/kernels.js";
import { assertClose, random } from "../support/random.js";

describe("the sum of squares", () => {
  for (const { variant, software } of VARIANTS)
    it(`of several tensors agrees with float64, ${variant}`, async () => {
      // Single numbers; both sides of the size for a second thread; with and without 4-vectors; more than all threads take at once.
      for (const counts of [
        [1],
        [4],
        [65],
        [64, 65, 68, 63],
        [1, 131, 264, 7, 2, 128, 129, 2048 * 64 + 260],
      ]) {
        let size = 0;
        const ranges = counts.map((count) => {
          const first = size;
          size += counts.length > 1 ? Math.ceil(count / 8) * 8 : count;
          return { first, count };
        });
        // What lies between the tensors must not matter.
        const x = new Float32Array(size).fill(NaN);
        const tensors = counts.map((count) => random(count, -2, 2));
        tensors.forEach((values, i) => x.set(values, ranges[i]!.first));
        const { kernel, results } = await runPoisoned(
          (c) => sumSquares({ size, ranges }, c),
          { software },
          { x },
          { y: partialSums({ ranges }) },
        );
        const exact = tensors.flatMap((values) => [...values].map((v) => v * v));
        const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
        // A thread adds at most 65 or so terms; what threads add up to is summed here, exactly.
        const total = sum(exact);
        assertClose([sum([...results["y"]!])], [total], 70 * EPS * total, kernel.name);
      }
    });

  it("of no tensor, and of tensors that are not whole in the buffer, is refused", () => {
    assertRefused(() => sumSquares({ size: 4, ranges: [] }, baselineCapabilities), /tensors = 0/);
    for (const range of [
      { first: 2, count: 1 },
      { first: 4, count: 5 },
      { first: -4, count: 4 },
    ])
      assertRefused(() => sumSquares({ size: 8, ranges: [range] }, baselineCapabilities), /a multiple of 4/);
  });

  it("of many tensors of any size is one number, and is NaN if any element is", async () => {
    const device = await testDevice();
    const values = Array.from({ length: 58 }, (_, i) => random(1 + 3 * i, -2, 2));
    const variables = values.map((data, i) =>
      variable(device, { data, shape: [data.length], dtype: "f32" }, `x${i}`),
    );
    const program = await compile(device, {}, () => ({ total: sumOfSquares(variables) }));
    await program.run();
    const total = values.reduce((sum, x) => x.reduce((a, b) => a + b * b, sum), 0);
    assertClose(await program.read("total"), [total], 100 * EPS * total, "total");
    const [last] = variables.slice(-1);
    last!.write(values.at(-1)!.fill(NaN, 9, 10));
    await program.run();
    assert.deepEqual([...(await program.read("total"))], [NaN]);
    program.destroy();
    for (const v of variables) v.destroy();
  });
});
