import { assert } from "chai";
import { customOp } from "../../engine/custom_op.js";
import { ropeTables } from "../../kernels/rope.js";
import {
  abs,
  add,
  attention,
  bceWithLogits,
  broadcastTo,
  cast,
  compile,
  concat,
  constant,
  crossEntropy,
  div,
  DtypeError,
  exp,
  f32,
  floor,
  grad,
  hostTensor,
  i32,
  identity,
  inverseSqrt,
  less,
  linear,
  log,
  matmul,
  max,
  maxOver,
  mean,
  min,
  mul,
  neg,
  plan,
  remainder,
  reshape,
  rmsNorm,
  rope,
  scale,
  ShapeError,
  sigmoid,
  sign,
  silu,
  slice,
  sqrt,
  square,
  stopGradient,
  sub,
  sum,
  swiglu,
  takeRows,
  transpose,
  UsageError,
  variable,
  where,
  assign,
  type Tensor,
} from "../../engine/index.js";
import { baselineCapabilities } from "../../kernels/capabilities.js";
import { checkGradients, type Given } from "../support/differences.js";
import { testDevice } from "../support/device.js";
import { assertClose, random, randomIntegers, uniform } from "../support/random.js";

type Row = readonly [
  name: string,
  given: Readonly<Record<string, Given>>,
  f: (x: Record<string, Tensor>) => Tensor,
];

const positive = (...shape: number[]): Given => ({ shape, low: 1, high: 2 });
/** Values at least 0.25 away from 0, past the reach of the differences. */
const awayFromZero = (...shape: number[]): Given => ({
  shape,
  data: random(
    shape.reduce((a, b) => a * b, 1),
    0.25,
    1,
  ).map((x) => (uniform() < 0.5 ? -x : x)),
});
/** Two inputs whose elements differ by at least 0.25. */
const apart = (shape: number[]): { a: Given; b: Given } => {
  const a = random(shape.reduce((x, y) => x * y, 1));
  return {
    a: { shape, data: a },
    b: { shape, data: a.map((x) => x + (uniform() < 0.5 ? -1 : 1) * (0.25 + uniform())) },
  };
};
const bits = randomIntegers(12, 0, 2);

const BINARY: readonly (readonly [
  string,
  (a: Tensor, b: Tensor) => Tensor,
  (...shape: number[]) => Given,
])[] = [
  ["add", add, (...s) => s],
  ["sub", sub, (...s) => s],
  ["mul", mul, (...s) => s],
  ["div", div, positive],
  ["bceWithLogits", bceWithLogits, awayFromZero],
];

const ROWS: readonly Row[] = [
  ...BINARY.flatMap(([name, f, given]): Row[] => [
    [`${name}`, { a: given(2, 5), b: given(2, 5) }, ({ a, b }) => f(a!, b!)],
    [`${name}, the second operand broadcast`, { a: given(2, 3, 4), b: given(3, 1) }, ({ a, b }) => f(a!, b!)],
    [`${name}, the first operand broadcast`, { a: given(4), b: given(2, 3, 4) }, ({ a, b }) => f(a!, b!)],
    [`${name}, both broadcast`, { a: given(3, 1), b: given(1, 5) }, ({ a, b }) => f(a!, b!)],
    [`${name}, a scalar operand`, { a: given(), b: given(7) }, ({ a, b }) => f(a!, b!)],
    [`${name}, one tensor as both`, { a: given(5) }, ({ a }) => f(a!, a!)],
  ]),
  ["max", apart([3, 4]), ({ a, b }) => max(a!, b!)],
  ["min", apart([3, 4]), ({ a, b }) => min(a!, b!)],
  ["max with a number", { a: awayFromZero(7) }, ({ a }) => max(a!, 0)],
  ["min with a number", { a: awayFromZero(7) }, ({ a }) => min(0, a!)],
  ["abs", { a: awayFromZero(9) }, ({ a }) => abs(a!)],
  ["sign and floor are flat", { a: awayFromZero(9) }, ({ a }) => add(sign(a!), floor(scale(a!, 0.8)))],
  ["neg", { a: [5] }, ({ a }) => neg(a!)],
  ["identity", { a: [5] }, ({ a }) => identity(a!)],
  ["exp", { a: [8] }, ({ a }) => exp(a!)],
  ["log", { a: positive(8) }, ({ a }) => log(a!)],
  ["sqrt", { a: positive(8) }, ({ a }) => sqrt(a!)],
  ["inverseSqrt", { a: positive(8) }, ({ a }) => inverseSqrt(a!)],
  ["sigmoid", { a: { shape: [8], low: -3, high: 3 } }, ({ a }) => sigmoid(a!)],
  ["silu", { a: { shape: [8], low: -3, high: 3 } }, ({ a }) => silu(a!)],
  ["square", { a: [8] }, ({ a }) => square(a!)],
  ["scale", { a: [8] }, ({ a }) => scale(a!, -2.5)],
  ["cast to the same dtype", { a: [8] }, ({ a }) => cast(a!, "f32")],
  ["broadcastTo", { a: [3, 1] }, ({ a }) => broadcastTo(a!, [2, 3, 4])],
  ["where", { a: [3, 4], b: [3, 4] }, ({ a, b }) => where(constant(bits, [3, 4]), a!, b!)],
  [
    "where, everything broadcast",
    { a: [4], b: [] },
    ({ a, b }) => where(constant(Int32Array.of(1, 0, 1), [3, 1]), a!, b!),
  ],
  [
    "where chooses by a compared input",
    apart([6]),
    ({ a, b }) => where(less(a!, b!), square(a!), mul(a!, b!)),
  ],
  [
    "bceWithLogits across zero",
    { x: [6], t: { shape: [6], low: 0, high: 1 } },
    ({ x, t }) => bceWithLogits(scale(x!, 3), t!),
  ],

  ["sum of everything", { a: [3, 4] }, ({ a }) => square(sum(a!))],
  ["sum over the first axis", { a: [3, 4] }, ({ a }) => sum(square(a!), { axes: [0] })],
  ["sum over the last axis", { a: [3, 4] }, ({ a }) => sum(square(a!), { axes: [-1], keepDims: true })],
  ["sum over outer axes", { a: [2, 3, 4] }, ({ a }) => sum(square(a!), { axes: [0, 2] })],
  ["mean", { a: [3, 4] }, ({ a }) => square(mean(a!))],
  ["mean over an axis", { a: [3, 4, 2] }, ({ a }) => mean(square(a!), { axes: [1] })],

  ["reshape", { a: [3, 4] }, ({ a }) => square(reshape(a!, [2, 6]))],
  ["reshape used under two shapes", { a: [3, 4] }, ({ a }) => mul(reshape(a!, [4, 3]), transpose(a!))],
  ["transpose", { a: [2, 3, 4] }, ({ a }) => square(transpose(a!, [2, 0, 1]))],
  ["slice", { a: [4, 5] }, ({ a }) => square(slice(a!, [1, 2], [2, 3]))],
  ["overlapping slices", { a: [6] }, ({ a }) => mul(slice(a!, [0], [4]), slice(a!, [2], [4]))],
  ["concat", { a: [2, 3], b: [2, 1] }, ({ a, b }) => square(concat([a!, b!, a!], 1))],
  ["concat along the first axis", { a: [2, 3], b: [1, 3] }, ({ a, b }) => square(concat([b!, a!], 0))],
  [
    "takeRows with repeated indices",
    { a: [5, 3] },
    ({ a }) => square(takeRows(a!, constant(Int32Array.of(1, 4, 1, 1, 0), [5]))),
  ],
  [
    "takeRows with indices outside",
    { a: [3, 2] },
    ({ a }) => takeRows(a!, constant(Int32Array.of(2, -1, 3, 0), [2, 2])),
  ],

  ["matmul nn", { a: [3, 5], b: [5, 4] }, ({ a, b }) => matmul(a!, b!)],
  ["matmul nt", { a: [3, 5], b: [4, 5] }, ({ a, b }) => matmul(a!, b!, { transposeB: true })],
  ["matmul tn", { a: [5, 3], b: [5, 4] }, ({ a, b }) => matmul(a!, b!, { transposeA: true })],
  ["batched matmul nn", { a: [2, 3, 5], b: [2, 5, 4] }, ({ a, b }) => matmul(a!, b!)],
  ["batched matmul nt", { a: [2, 3, 5], b: [2, 4, 5] }, ({ a, b }) => matmul(a!, b!, { transposeB: true })],
  ["batched matmul tn", { a: [2, 5, 3], b: [2, 5, 4] }, ({ a, b }) => matmul(a!, b!, { transposeA: true })],
  ["batched matmul nn with a shared b", { a: [2, 3, 5], b: [5, 4] }, ({ a, b }) => matmul(a!, b!)],
  [
    "batched matmul nt with a shared b",
    { a: [2, 3, 5], b: [4, 5] },
    ({ a, b }) => matmul(a!, b!, { transposeB: true }),
  ],
  [
    "batched matmul tn with a shared b",
    { a: [2, 5, 3], b: [5, 4] },
    ({ a, b }) => matmul(a!, b!, { transposeA: true }),
  ],
  ["matmul of a tensor with itself", { a: [4, 4] }, ({ a }) => matmul(a!, a!)],
  ["matmul of a tensor with its transpose", { a: [3, 5] }, ({ a }) => matmul(a!, a!, { transposeB: true })],
  ["matmul with a bias", { a: [3, 5], b: [5, 4], c: [4] }, ({ a, b, c }) => matmul(a!, b!, { bias: c! })],
  [
    "batched matmul with a bias",
    { a: [2, 3, 5], b: [2, 5, 4], c: [4] },
    ({ a, b, c }) => matmul(a!, b!, { bias: c! }),
  ],
  ["linear", { x: [2, 3, 5], w: [4, 5] }, ({ x, w }) => linear(x!, w!)],
  ["linear with a bias", { x: [3, 5], w: [4, 5], b: [4] }, ({ x, w, b }) => linear(x!, w!, b)],
  ["linear of a vector", { x: [5], w: [4, 5], b: [4] }, ({ x, w, b }) => linear(x!, w!, b)],

  // Rows are wide enough that their mean square stays away from 0, where the fifth derivative has no bound.
  ["rmsNorm", { x: [3, 24] }, ({ x }) => rmsNorm(x!)],
  ["rmsNorm with a residual", { x: [3, 24], r: [3, 24] }, ({ x, r }) => rmsNorm(x!, { residual: r! })],
  ["rmsNorm of a tensor and itself", { x: [3, 24] }, ({ x }) => rmsNorm(x!, { residual: x! })],
  [
    "rmsNorm whose sum goes on",
    { x: [2, 24], r: [2, 24] },
    ({ x, r }) => mul(rmsNorm(x!, { residual: r!, eps: 0.1 }), r!),
  ],
  ["swiglu", { x: { shape: [3, 10], low: -2, high: 2 } }, ({ x }) => swiglu(x!)],
  ["attention", { x: [2, 5, 24] }, ({ x }) => attention(x!, { heads: 2 })],
  ["causal attention", { x: [1, 6, 12] }, ({ x }) => attention(x!, { heads: 1, causal: true })],
  ["attention of one position", { x: [2, 1, 12] }, ({ x }) => attention(x!, { heads: 1 })],
  [
    "attention with rope",
    { x: [2, 3, 24] },
    ({ x }) => {
      const { cos, sin } = ropeTables({ length: 3, headDim: 4, theta: 10 });
      return attention(x!, { heads: 2, rope: { cos: constant(cos, [3, 4]), sin: constant(sin, [3, 4]) } });
    },
  ],
  [
    "rope",
    { x: [2, 3, 24] },
    ({ x }) => {
      const { cos, sin } = ropeTables({ length: 3, headDim: 4, theta: 10 });
      return rope(x!, constant(cos, [3, 4]), constant(sin, [3, 4]), { heads: 2 });
    },
  ],
  ...(["stablemax", "softmax"] as const).flatMap((kind): Row[] => [
    [
      `${kind} cross entropy with ignored labels`,
      { x: awayFromZero(4, 5) },
      ({ x }) => crossEntropy(x!, constant(Int32Array.of(0, -100, 4, 2), [4]), { kind }).loss,
    ],
    [
      `${kind} cross entropy of a batch`,
      { x: awayFromZero(2, 3, 4) },
      ({ x }) =>
        crossEntropy(x!, constant(Int32Array.of(1, 1, 7, 0, 3, 2), [2, 3]), { kind, ignoreLabel: 7 }).loss,
    ],
  ]),

  [
    "a fused chain with two consumers",
    { a: [3, 4], b: [4] },
    ({ a, b }) => {
      const t = sigmoid(mul(add(a!, b!), a!));
      return add(mul(t, exp(neg(t))), sum(t, { axes: [0], keepDims: true }));
    },
  ],
  [
    "the gradient of a fused chain's gradient",
    { a: [5], b: [5] },
    ({ a, b }) => grad(sum(mul(exp(mul(a!, b!)), sigmoid(a!))), a!),
  ],
  [
    "the gradient of a matmul's gradient",
    { a: [2, 3], w: [4, 3] },
    ({ a, w }) => grad(sum(square(sigmoid(linear(a!, w!)))), w!),
  ],
];

describe("autodiff", () => {
  for (const [name, given, f] of ROWS) {
    it(`differentiates ${name}`, async () => {
      const device = await testDevice();
      await checkGradients(device, given, f);
    });
  }

  it("stops at stopGradient, and only there", async () => {
    const device = await testDevice();
    const x = random(4);
    const step = await compile(device, { x: f32(4) }, ({ x }) => {
      const y = mul(x, stopGradient(square(x)));
      return { through: grad(sum(y), x), blocked: grad(sum(stopGradient(y)), x) };
    });
    await step.run({ x });
    assertClose(
      await step.read("through"),
      x.map((v) => v * v),
      1e-6,
      "x stop(x^2)",
    );
    assert.deepEqual([...(await step.read("blocked"))], [0, 0, 0, 0]);
    step.destroy();
  });

  it("gives zeros for tensors that the loss does not depend on", async () => {
    const device = await testDevice();
    const step = await compile(device, { x: f32(2, 3), y: f32(4) }, ({ x, y }) => ({ g: grad(sum(y), x) }));
    await step.run({ x: random(6), y: random(4) });
    assert.deepEqual([...(await step.read("g"))], Array<number>(6).fill(0));
    step.destroy();
  });

  it("differentiates by intermediates, even if one depends on the other", async () => {
    const device = await testDevice();
    const step = await compile(device, { x: f32(3) }, ({ x }) => {
      const y = square(x);
      const z = exp(y);
      const [dx, dy, dz] = grad(sum(add(z, y)), [x, y, z]);
      return { dx, dy, dz };
    });
    const x = random(3);
    await step.run({ x });
    assertClose(await step.read("dz"), [1, 1, 1], 0, "dz");
    assertClose(
      await step.read("dy"),
      x.map((v) => Math.exp(v * v) + 1),
      2e-6 * 4,
      "dy",
    );
    assertClose(
      await step.read("dx"),
      x.map((v) => 2 * v * (Math.exp(v * v) + 1)),
      2e-6 * 8,
      "dx",
    );
    step.destroy();
  });

  it("differentiates by a variable as it stands: before and after an assignment", async () => {
    const device = await testDevice();
    const w = variable(device, hostTensor(Float32Array.of(3), [1]), "w");
    const step = await compile(device, {}, () => {
      const before = grad(sum(square(w)), w);
      assign(w, mul(w, 2));
      return { before, after: grad(sum(square(w)), w) };
    });
    await step.run();
    assert.deepEqual([...(await step.read("before"))], [6]);
    assert.deepEqual([...(await step.read("after"))], [12]);
    step.destroy();
    w.destroy();
  });

  it("is exactly zero if a target is the sigmoid of its logit", async () => {
    const device = await testDevice();
    const step = await compile(device, { x: f32(64), stored: f32(64) }, ({ x, stored }) => {
      const towards = (target: Tensor) => grad(sum(bceWithLogits(x, stopGradient(target))), x);
      return { target: sigmoid(x), g: towards(sigmoid(x)), g_stored: towards(stored) };
    });
    const x = random(64, -20, 20);
    await step.run({ x, stored: x });
    const stored = (await step.read("target")) as Float32Array;
    await step.run({ x, stored });
    for (const g of ["g", "g_stored"] as const)
      assert.deepEqual([...(await step.read(g))], Array<number>(64).fill(0), g);
    step.destroy();
  });

  /** An operation with a wrong gradient rule. */
  const misshapen = customOp({
    name: "misshapen",
    shape: (x) => x,
    kernel: () => {
      throw new Error("This operation is never compiled.");
    },
    gradient: ({ dy }) => [transpose(dy)],
  });
  const refused: readonly (readonly [
    string,
    (x: Tensor, n: Tensor) => Tensor,
    new (message: string) => Error,
    RegExp,
  ])[] = [
    ["a loss of several elements", (x) => grad(square(x), x), ShapeError, /f32\[2, 4\].*sum\(\) or mean\(\)/],
    ["an integer loss", (x, n) => grad(sum(n), x), ShapeError, /i32\[\]/],
    ["an integer variable", (x, n) => grad(sum(x), n), DtypeError, /i32\[3\]/],
    [
      "remainder",
      (x) => grad(sum(remainder(x, 2)), x),
      UsageError,
      /remainder\(.*has no gradient rule.*stopGradient/,
    ],
    ["maxOver", (x) => grad(sum(maxOver(x, { axes: [1] })), x), UsageError, /maxOver\(.*no gradient rule/],
    [
      "a rule whose gradient has another shape than the input",
      (x) => grad(sum(misshapen(x)), x),
      ShapeError,
      /misshapen gave f32\[4, 2\] for an input f32\[2, 4\]/,
    ],
  ];
  for (const [name, body, type, message] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(
        () =>
          plan({ capabilities: baselineCapabilities }, { x: f32(2, 4), n: i32(3) }, ({ x, n }) => ({
            g: body(x, n),
          })),
        type,
        message,
      );
    });
  }
});
