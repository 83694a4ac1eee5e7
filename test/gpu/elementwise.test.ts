/**
 * The elementwise kernels against float64. The file is longer than 400 lines because it holds a reference and inputs for every
 * operation.
 */
import { assert } from "chai";
import type { TypedArray } from "../../engine/tensor.js";
import {
  elementwise,
  type ElementwiseName,
  type ElementwiseSpec,
  type Operand,
} from "../../kernels/elementwise.js";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import type { Dtype } from "../../kernels/core/kernel.js";
import { assertExact, assertRefused, runPoisoned } from "../support/kernels.js";
import { CASES, someValues, type Case } from "../support/elementwise_cases.js";
import { assertClose, random, randomIntegers, uniform } from "../support/random.js";

type Numbers = ArrayLike<number>;

/** Runs a spec; `data` has an array per input. Gives the outputs in order. */
async function run(
  spec: ElementwiseSpec,
  data: readonly TypedArray[],
  capabilities: Partial<Capabilities> = {},
): Promise<{ outputs: TypedArray[]; code: string; name: string }> {
  const size = spec.shape.reduce((a, b) => a * b, 1);
  const inputs: Record<string, TypedArray> = {};
  const sizes: Record<string, number> = {};
  data.forEach((values, i) => {
    const over = spec.outputs.findIndex((o) => o.inPlace === i);
    inputs[over < 0 ? `in${i}` : `out${over}`] = values;
  });
  spec.outputs.forEach((o, i) => {
    if (o.inPlace === undefined) sizes[`out${i}`] = size;
  });
  const { kernel, results } = await runPoisoned((c) => elementwise(spec, c), capabilities, inputs, sizes);
  const { code, name } = kernel;
  return { outputs: spec.outputs.map((_, i) => results[`out${i}`]!), code, name };
}

const isVector = (code: string): boolean => /out0: array<vec4</.test(code);

async function checkCase(operation: ElementwiseName, c: Case, size: number): Promise<void> {
  const from = c.from ?? Array<Dtype>(c.exact.length).fill(c.dtype);
  const data = c.inputs?.(size) ?? from.map((dtype) => someValues(size, dtype));
  const { outputs, code, name } = await run(
    {
      shape: [size],
      inputs: from.map((dtype) => ({ shape: [size], dtype })),
      statements: [{ operation, operands: from.map((_, input) => ({ input })), dtype: c.dtype }],
      outputs: [{ value: 0 }],
    },
    data,
  );
  assert.equal(isVector(code), size % 4 === 0, "4 at a time where they divide");
  const operands = (i: number) => data.map((values) => values[i]!);
  const expected = Array.from({ length: size }, (_, i) => c.exact(...operands(i)));
  const label = `${name} of ${from.join(", ")}`;
  // Adding 0 takes the sign off zeros, which WGSL leaves open.
  const unsigned = (values: Numbers) => Array.from(values, (v) => v + 0);
  if (c.allowed) assertClose(outputs[0]!, expected, (i) => c.allowed!(expected[i]!, ...operands(i)), label);
  else assertExact(unsigned(outputs[0]!), unsigned(expected), label);
}

describe("elementwise", () => {
  for (const [operation, cases] of Object.entries(CASES) as [ElementwiseName, readonly Case[]][])
    if (cases.length > 0)
      it(`${operation} agrees with float64, or exactly`, async () => {
        // One workgroup and a bit of single numbers; two of 4-vectors; a lone number.
        for (const size of [1, 67, 264]) for (const c of cases) await checkCase(operation, c, size);
      });

  it("position counts the results in row-major order", async () => {
    for (const dtype of ["f32", "i32", "u32"] as const)
      for (const shape of [
        [5, 13],
        [3, 7, 16],
      ]) {
        const spec: ElementwiseSpec = {
          shape,
          inputs: [],
          statements: [{ operation: "position", operands: [], dtype }],
          outputs: [{ value: 0 }],
        };
        const { outputs, name } = await run(spec, []);
        assertExact(outputs[0]!, [...outputs[0]!.keys()], name);
      }
  });

  it("integers divide and multiply by WGSL's rules also at the edges", async () => {
    const a = Int32Array.from([7, -7, -(2 ** 31), 2 ** 31 - 1]);
    const b = Int32Array.from([0, 0, -1, 2]);
    const spec = (operation: ElementwiseName): ElementwiseSpec => ({
      shape: [4],
      inputs: [0, 1].map(() => ({ shape: [4], dtype: "i32" })),
      statements: [{ operation, operands: [{ input: 0 }, { input: 1 }], dtype: "i32" }],
      outputs: [{ value: 0 }],
    });
    // A division that has no result gives the dividend, and its remainder is 0.
    assertExact((await run(spec("div"), [a, b])).outputs[0]!, [7, -7, -(2 ** 31), 2 ** 30 - 1], "div");
    assertExact((await run(spec("remainder"), [a, b])).outputs[0]!, [0, 0, 0, 1], "remainder");
    assertExact((await run(spec("mul"), [a, b])).outputs[0]!, [0, 0, -(2 ** 31), -2], "mul");
  });

  /** Shape of the result, shapes of the inputs, and how many results a thread makes. */
  const BROADCASTS: readonly (readonly [readonly number[], readonly (readonly number[])[], 1 | 4])[] = [
    [[], [[], []], 1],
    [[1], [[1], []], 1],
    [[5], [[5], [1]], 1],
    [[8], [[8], [1]], 4],
    [[8], [[1], []], 4],
    [[1, 4], [[4], [1, 1]], 4],
    [[2, 4], [[2, 4], [4]], 4],
    [
      [3, 8],
      [
        [3, 8],
        [3, 1],
      ],
      4,
    ],
    [[3, 5], [[3, 1], [5]], 1],
    // There are 12 results in rows of 6, so that no 4-vector stays inside a row.
    [
      [2, 6],
      [
        [2, 6],
        [2, 1],
      ],
      1,
    ],
    [[2, 6], [[2, 6], [6]], 1],
    // 4-vectors that span dimensions which one stride serves.
    [
      [6, 2, 2],
      [
        [6, 2, 2],
        [6, 1, 1],
      ],
      4,
    ],
    [
      [2, 2, 6],
      [
        [2, 2, 6],
        [2, 6],
      ],
      4,
    ],
    [
      [2, 3, 4],
      [
        [1, 3, 4],
        [2, 1, 4],
      ],
      4,
    ],
    [
      [2, 3, 4],
      [
        [2, 1, 1],
        [3, 1],
      ],
      4,
    ],
    [
      [2, 3, 4],
      [
        [2, 3, 1],
        [1, 1, 4],
      ],
      4,
    ],
    [[4, 3], [[4, 1], [3]], 1],
    [
      [5, 1, 7, 1],
      [
        [5, 1, 1, 1],
        [7, 1],
      ],
      1,
    ],
    [
      [2, 5, 3, 4],
      [
        [2, 1, 3, 1],
        [5, 1, 4],
      ],
      4,
    ],
    [
      [7, 11, 4],
      [
        [7, 1, 4],
        [11, 1],
      ],
      4,
    ],
  ];

  /** Sums the inputs (integers, so that the sum is exact) and checks the broadcast. */
  async function checkBroadcast(
    shape: readonly number[],
    shapes: readonly (readonly number[])[],
    capabilities: Partial<Capabilities> = {},
  ): Promise<string> {
    const data = shapes.map((s) =>
      randomIntegers(
        s.reduce((a, b) => a * b, 1),
        -(2 ** 20),
        2 ** 20,
      ),
    );
    const { outputs, code } = await run(
      {
        shape,
        inputs: shapes.map((s) => ({ shape: s, dtype: "i32" })),
        statements: [
          { operation: "identity", operands: [{ input: 0 }], dtype: "i32" },
          ...shapes.slice(1).map((_, k) => ({
            operation: "add" as const,
            operands: [{ value: k }, { input: k + 1 }],
            dtype: "i32" as const,
          })),
        ],
        outputs: [{ value: shapes.length - 1 }],
      },
      data,
      capabilities,
    );
    const size = shape.reduce((a, b) => a * b, 1);
    const expected = Array.from({ length: size }, (_, index) =>
      shapes.reduce((sum, s, k) => {
        let at = 0;
        let stride = 1;
        let rest = index;
        for (let back = 1; back <= shape.length; back++) {
          const n = s.at(-back) ?? 1;
          const digit = rest % shape.at(-back)!;
          rest = Math.floor(rest / shape.at(-back)!);
          if (back <= s.length && n > 1) at += digit * stride;
          if (back <= s.length) stride *= n;
        }
        return sum + data[k]![at]!;
      }, 0),
    );
    assertExact(
      outputs[0]!,
      expected,
      `${shapes.map((s) => `[${s.join()}]`).join(" + ")} to [${shape.join()}]`,
    );
    return code;
  }

  it("broadcasts as NumPy does: whole, splat, by row, by column, between", async () => {
    for (const [shape, shapes, width] of BROADCASTS)
      assert.equal(isVector(await checkBroadcast(shape, shapes)), width === 4, `width for [${shape.join()}]`);
  });

  it("broadcasts random shapes", async () => {
    const pick = (n: number) => Math.floor(uniform() * n);
    for (let trial = 0; trial < 40; trial++) {
      const shape = Array.from({ length: 1 + pick(4) }, () => [1, 2, 3, 4, 5, 8][pick(6)]!);
      const shapes = Array.from({ length: 1 + pick(3) }, () =>
        shape.slice(pick(shape.length + 1)).map((n) => (uniform() < 0.4 ? 1 : n)),
      );
      await checkBroadcast(shape, shapes);
    }
  });

  it("folds dispatches past the limit", async () => {
    const limits = { maxComputeWorkgroupsPerDimension: 3 };
    await checkBroadcast([461], [[461], [1]], limits);
    await checkBroadcast(
      [29, 5, 12],
      [
        [29, 1, 12],
        [5, 1],
      ],
      limits,
    );
  });

  it("fuses statements, literals and several outputs", async () => {
    for (const size of [7, 40]) {
      const x = random(size, -2, 2);
      const y = random(size, -2, 2);
      const half: Operand = { literal: 0.5, dtype: "f32" };
      const spec: ElementwiseSpec = {
        shape: [size],
        inputs: [
          { shape: [size], dtype: "f32" },
          { shape: [size], dtype: "f32" },
        ],
        statements: [
          { operation: "sub", operands: [{ input: 0 }, half], dtype: "f32" },
          { operation: "less", operands: [{ value: 0 }, { literal: -0.25, dtype: "f32" }], dtype: "i32" },
          { operation: "where", operands: [{ value: 1 }, { input: 1 }, { value: 0 }], dtype: "f32" },
          { operation: "neg", operands: [{ literal: -3, dtype: "i32" }], dtype: "i32" },
          { operation: "mul", operands: [{ value: 1 }, { value: 3 }], dtype: "i32" },
        ],
        outputs: [{ value: 2 }, { value: 4 }],
      };
      const { outputs } = await run(spec, [x, y]);
      const shifted = x.map((v) => v - 0.5);
      assertExact(
        outputs[0]!,
        shifted.map((v, i) => (v < -0.25 ? y[i]! : v)),
        "where",
      );
      assertExact(
        outputs[1]!,
        Array.from(shifted, (v) => (v < -0.25 ? 3 : 0)),
        "mask times 3",
      );
    }
  });

  it("overwrites inputs in place, and swaps two", async () => {
    for (const shape of [
      [5, 3],
      [6, 4],
      [2, 6],
    ]) {
      const size = shape[0]! * shape[1]!;
      const [a, b] = [random(size), random(size)];
      const row = random(shape[1]!);
      const whole = { shape, dtype: "f32" } as const;
      const spec: ElementwiseSpec = {
        shape,
        inputs: [whole, { shape: [shape[1]!], dtype: "f32" }, whole],
        statements: [
          { operation: "identity", operands: [{ input: 2 }], dtype: "f32" },
          { operation: "add", operands: [{ input: 0 }, { input: 1 }], dtype: "f32" },
        ],
        outputs: [
          { value: 0, inPlace: 0 },
          { value: 1, inPlace: 2 },
        ],
      };
      const { outputs } = await run(spec, [a, row, b]);
      assertExact(outputs[0]!, b, "b moved to a's place");
      assertExact(
        outputs[1]!,
        a.map((v, i) => v + row[i % shape[1]!]!),
        "a + row moved to b's place",
      );
    }
  });

  const sum = (
    shape: readonly number[],
    ...inputs: ElementwiseSpec["inputs"][number][]
  ): ElementwiseSpec => ({
    shape,
    inputs,
    statements: [{ operation: "identity", operands: [{ input: 0 }], dtype: "f32" }],
    outputs: [{ value: 0 }],
  });
  const whole = { shape: [2, 3], dtype: "f32" } as const;

  it("counts the work", () => {
    const kernel = elementwise(sum([2, 3], whole, { shape: [3], dtype: "f32" }), baselineCapabilities);
    assert.equal(kernel.flops, 6);
    assert.equal(kernel.bytes, 4 * (6 + 3 + 6));
  });

  it("refuses shapes that do not broadcast, empty shapes and too many buffers", () => {
    const refused = (spec: ElementwiseSpec, message: RegExp) =>
      assertRefused(() => elementwise(spec, baselineCapabilities), message);
    refused(sum([2, 3], { shape: [2], dtype: "f32" }), /input of shape \[2\].*broadcasts to \[2, 3\]/);
    refused(sum([3], whole), /input of shape \[2, 3\]/);
    refused(sum([2, 0], { shape: [1], dtype: "f32" }), /dimension 1 = 0/);
    refused(sum([2, 3], ...Array<typeof whole>(8).fill(whole)), /9 buffers.*at most 8/);
  });

  it("refuses to overwrite an input of another shape or dtype, or twice", () => {
    const refused = (spec: ElementwiseSpec, message: RegExp) =>
      assertRefused(() => elementwise(spec, baselineCapabilities), message);
    const outputs = [{ value: 0, inPlace: 0 }];
    refused({ ...sum([2, 3], { shape: [3], dtype: "f32" }), outputs }, /input 0, f32 \[3\].*f32 \[2, 3\]/);
    refused({ ...sum([2, 3], { shape: [2, 3], dtype: "i32" }), outputs }, /input 0, i32/);
    refused({ ...sum([2, 3], whole), outputs: [...outputs, ...outputs] }, /a second output/);
    refused({ ...sum([2, 3], whole), outputs: [{ value: 0, inPlace: 1 }] }, /input 1/);
  });

  it("refuses literals that their dtype cannot hold", () => {
    for (const [literal, dtype] of [
      [NaN, "f32"],
      [Infinity, "f32"],
      [1e39, "f32"],
      [2 ** 31, "i32"],
      [0.5, "i32"],
      [-1, "u32"],
      [2 ** 32, "u32"],
    ] as const) {
      const spec: ElementwiseSpec = {
        shape: [4],
        inputs: [],
        statements: [{ operation: "identity", operands: [{ literal, dtype }], dtype }],
        outputs: [{ value: 0 }],
      };
      assertRefused(() => elementwise(spec, baselineCapabilities), /literal: got/);
    }
  });

  it("writes literals that come back unchanged", async () => {
    for (const [dtype, values] of [
      ["f32", [0, 1, -1, 0.1, -1e-7, 1e21, 3.4028234663852886e38, 2 ** -126]],
      ["i32", [0, -1, 2 ** 31 - 1, -(2 ** 31)]],
      ["u32", [0, 2 ** 32 - 1, 2 ** 31]],
    ] as const) {
      const { outputs } = await run(
        {
          shape: [1],
          inputs: [],
          statements: values.map((literal) => ({
            operation: "identity",
            operands: [{ literal, dtype }],
            dtype,
          })),
          outputs: values.map((_, value) => ({ value })),
        },
        [],
      );
      const back = outputs.map((o) => o[0]!);
      assertExact(
        back,
        values.map((v) => (dtype === "f32" ? Math.fround(v) : v)),
        dtype,
      );
    }
  });
});
