import { assert } from "chai";
import { compile, variable } from "../../engine/index.js";
import { sumOfSquares } from "../../engine/norms.js";
import { baselineCapabilities } from "../../kernels/kernel.js";
import { partialSums, sumSquares } from "../../kernels/sum_squares.js";
import { testDevice } from "../support/device.js";
import { EPS, VARIANTS, assertRefused, runPoisoned } from "../support/kernels.js";
import { assertClose, random } from "../support/random.js";

describe("the sum of squares", () => {
  for (const { variant, software } of VARIANTS)
    it(`of several tensors agrees with float64, ${variant}`, async () => {
      // Lone numbers, both sides of where a second thread joins, 4-vectors or not, more than all threads take at once.
      for (const counts of [[1], [4], [64, 65, 68, 63], [1, 131, 264, 7, 128, 129, 2048 * 64 + 260]]) {
        const inputs = Object.fromEntries(counts.map((n, i) => [`x${i}`, random(n, -2, 2)]));
        const { kernel, results } = await runPoisoned(
          (c) => sumSquares({ counts }, c),
          { software },
          inputs,
          { y: partialSums({ counts }) },
        );
        const exact = Object.values(inputs).flatMap((x) => [...x].map((v) => v * v));
        const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
        // A thread adds at most 65 or so terms; what threads add up to is summed here, exactly.
        const total = sum(exact);
        assertClose([sum([...results["y"]!])], [total], 70 * EPS * total, kernel.name);
      }
    });

  it("of no tensor, and of more than a kernel binds, is refused", () => {
    for (const counts of [[], Array<number>(8).fill(4)])
      assertRefused(() => sumSquares({ counts }, baselineCapabilities), /inputs; expected 1 to 7/);
  });

  it("of more tensors than seven kernels take is one number, and a NaN anywhere shows", async () => {
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
