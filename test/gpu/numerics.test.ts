/** Results of operations for NaN, infinities, subnormal numbers and values outside their domain: docs/numerics.md as tests. */
import { assert } from "chai";
import {
  abs,
  add,
  bceWithLogits,
  cast,
  compile,
  constant,
  div,
  DtypeError,
  equal,
  exp,
  f32,
  floor,
  full,
  grad,
  greater,
  greaterEqual,
  i32,
  inverseSqrt,
  isFinite,
  isNaN,
  less,
  lessEqual,
  log,
  max,
  maxOver,
  mean,
  min,
  mul,
  neg,
  notEqual,
  plan,
  position,
  randomInt,
  read,
  remainder,
  reshape,
  scalar,
  scale,
  sigmoid,
  sign,
  silu,
  sqrt,
  square,
  sub,
  sum,
  truncatedNormal,
  UsageError,
  where,
  type Dtype,
  type Tensor,
} from "../../engine/index.js";
import { baselineCapabilities } from "../../kernels/capabilities.js";
import { KernelError } from "../../kernels/core/kernel.js";
import { adamW } from "../../kernels/optimizer.js";
import { rmsNorm } from "../../kernels/rms_norm.js";
import { ropeTables } from "../../kernels/rope.js";
import { testDevice } from "../support/device.js";

/** One number of every kind by its bits, since a host may change the bits of a NaN. */
const KINDS: readonly (readonly [name: string, bits: number, nan: 0 | 1, finite: 0 | 1])[] = [
  ["0", 0x00000000, 0, 1],
  ["-0", 0x80000000, 0, 1],
  ["the least subnormal", 0x00000001, 0, 1],
  ["minus the least subnormal", 0x80000001, 0, 1],
  ["the largest subnormal", 0x007fffff, 0, 1],
  ["the least normal", 0x00800000, 0, 1],
  ["1", 0x3f800000, 0, 1],
  ["-1", 0xbf800000, 0, 1],
  ["the largest", 0x7f7fffff, 0, 1],
  ["minus the largest", 0xff7fffff, 0, 1],
  ["Infinity", 0x7f800000, 0, 0],
  ["-Infinity", 0xff800000, 0, 0],
  ["the first signalling NaN", 0x7f800001, 1, 0],
  ["a negative signalling NaN", 0xffbfffff, 1, 0],
  ["the quiet NaN", 0x7fc00000, 1, 0],
  ["a negative quiet NaN", 0xffc00000, 1, 0],
  ["the last NaN", 0x7fffffff, 1, 0],
  ["the last negative NaN", 0xffffffff, 1, 0],
];
const ofBits = (bits: readonly number[]): Float32Array => new Float32Array(Uint32Array.from(bits).buffer);

/** Runs f over f32 inputs of one length, given by bits or values. */
async function run(
  inputs: Readonly<Record<string, Float32Array>>,
  f: (x: Record<string, Tensor>) => Tensor,
): Promise<number[]> {
  const specs = Object.fromEntries(Object.entries(inputs).map(([k, v]) => [k, f32(v.length)]));
  const program = await compile(await testDevice(), specs, (x) => ({ y: f(x) }));
  await program.run(inputs);
  const y = await program.read("y");
  program.destroy();
  return [...y];
}

/** Equal as numbers, NaN to NaN, within 1e-5 of the size; the sign of 0 is open, and so are numbers below 2^-126. */
function assertNumbers(
  actual: readonly number[],
  expected: readonly number[],
  label: (i: number) => string,
): void {
  assert.equal(actual.length, expected.length);
  expected.forEach((e, i) => {
    const a = actual[i]!;
    const same =
      Object.is(a + 0, e + 0) || (Number.isFinite(e) && Math.abs(a - e) <= 1e-5 * Math.abs(e) + 2 ** -126);
    if (!same) assert.fail(`${label(i)} = ${a}; expected ${e}`);
  });
}

/** Multiples of 4 take 4-vectors, other lengths do not. */
const bothWidths = (values: readonly number[]): number[][] => {
  const rest = (values.length + 3) % 4;
  return [
    [...values, ...Array<number>(3 - rest).fill(1)],
    [...values, ...Array<number>(3 - rest).fill(1), 1],
  ];
};

const INFINITE = [Infinity, -Infinity];
const SPECIAL = [0, -0, 1, -1, 2, 3e38, ...INFINITE, NaN];

const UNARY: readonly (readonly [string, (a: Tensor) => Tensor, (a: number) => number, number[]])[] = [
  ["neg", neg, (a) => -a, SPECIAL],
  ["abs", abs, Math.abs, SPECIAL],
  ["sign", sign, Math.sign, SPECIAL],
  ["floor", floor, Math.floor, SPECIAL],
  ["exp", exp, Math.exp, [...SPECIAL, 88, 89, 1000, -1000]],
  [
    "log",
    log,
    Math.log,
    [...SPECIAL, -1e30, -1e-30, 2 ** -126, 2 ** -127, 2 ** -140, 2 ** -149, -(2 ** -149)],
  ],
  ["sqrt", sqrt, Math.sqrt, [...SPECIAL, -1e30, -1e-30, -(2 ** -149)]],
  [
    "inverseSqrt",
    inverseSqrt,
    (a) => 1 / Math.sqrt(Math.abs(a) === 0 ? 0 : a),
    [0, 1, 3e38, -1, -1e-30, ...INFINITE, NaN],
  ],
  ["sigmoid", sigmoid, (a) => 1 / (1 + Math.exp(-a)), [...SPECIAL, 1000, -1000]],
  ["silu", silu, (a) => a / (1 + Math.exp(-a)), [0, 1, 1000, Infinity, -Infinity, NaN]],
  ["square", square, (a) => a * a, SPECIAL],
];

const BINARY: readonly (readonly [
  string,
  (a: Tensor, b: Tensor) => Tensor,
  (a: number, b: number) => number,
])[] = [
  ["add", add, (a, b) => a + b],
  ["sub", sub, (a, b) => a - b],
  ["mul", mul, (a, b) => a * b],
  ["div", div, (a, b) => a / b],
  ["max", max, Math.max],
  ["min", min, Math.min],
  ["less", less, (a, b) => Number(a < b)],
  ["lessEqual", lessEqual, (a, b) => Number(a <= b)],
  ["greater", greater, (a, b) => Number(a > b)],
  ["greaterEqual", greaterEqual, (a, b) => Number(a >= b)],
  ["equal", equal, (a, b) => Number(a === b)],
  ["notEqual", notEqual, (a, b) => Number(a !== b)],
];

describe("numerics", () => {
  it("isNaN and isFinite tell every kind of number by its bits", async () => {
    for (const count of [KINDS.length, KINDS.length - 2]) {
      const kinds = KINDS.slice(-count);
      const x = ofBits(kinds.map(([, bits]) => bits));
      const named = (found: readonly number[]) => kinds.map(([name], i) => `${name}: ${found[i]}`);
      assert.deepEqual(
        named(await run({ x }, ({ x }) => isNaN(x!))),
        kinds.map(([name, , nan]) => `${name}: ${nan}`),
      );
      assert.deepEqual(
        named(await run({ x }, ({ x }) => isFinite(x!))),
        kinds.map(([name, , , finite]) => `${name}: ${finite}`),
      );
    }
  });

  it("isNaN and isFinite see values computed in the same kernel", async () => {
    const x = Float32Array.of(1, -1, 0, 3e38);
    const found = async (f: (x: Tensor) => Tensor): Promise<number[]> => run({ x }, (i) => f(i["x"]!));
    assert.deepEqual(await found((x) => isNaN(sqrt(x))), [0, 1, 0, 0]);
    assert.deepEqual(await found((x) => isNaN(div(x, x))), [0, 0, 1, 0]);
    assert.deepEqual(await found((x) => isFinite(mul(x, x))), [1, 1, 1, 0]);
    assert.deepEqual(await found((x) => isFinite(log(x))), [1, 0, 0, 1]);
  });

  it("isNaN and isFinite refuse integers", () => {
    for (const f of [isNaN, isFinite])
      assert.throws(() => f(position([4])), DtypeError, /i32\[4\]; expected f32/);
  });

  for (const [name, f, exact, values] of UNARY)
    it(`${name} of every kind of number`, async () => {
      for (const x of bothWidths(values)) {
        const y = await run({ x: Float32Array.from(x) }, ({ x }) => f(x!));
        const rounded = Float32Array.from(x);
        assertNumbers(
          y,
          x.map((_, i) => Math.fround(exact(rounded[i]!))),
          (i) => `${name}(${x[i]})`,
        );
      }
    });

  for (const [name, f, exact] of BINARY)
    it(`${name} of every pair of kinds`, async () => {
      const pairs = SPECIAL.flatMap((a) => SPECIAL.map((b): [number, number] => [a, b]));
      for (const drop of [1, 0]) {
        const some = pairs.slice(drop);
        const [a, b] = [0, 1].map((k) => Float32Array.from(some, (pair) => pair[k]!));
        const y = await run({ a: a!, b: b! }, ({ a, b }) => f(a!, b!));
        assertNumbers(
          y,
          some.map((_, i) => Math.fround(exact(a![i]!, b![i]!))),
          (i) => `${name}(${some[i]!.join(", ")})`,
        );
      }
    });

  it("a number and itself: only NaN differs", async () => {
    const x = Float32Array.of(NaN, Infinity, -Infinity, 1);
    for (const [f, expected] of [
      [equal, [0, 1, 1, 1]],
      [notEqual, [1, 0, 0, 0]],
      [lessEqual, [0, 1, 1, 1]],
      [less, [0, 0, 0, 0]],
    ] as const)
      assert.deepEqual(await run({ x }, ({ x }) => f(x!, x!)), [...expected]);
  });

  it("max and min pass on NaN of every kind, beside a number from the text too", async () => {
    const nans = KINDS.filter(([, , nan]) => nan).map(([, bits]) => bits);
    const x = ofBits(nans);
    for (const f of [max, min])
      for (const y of [await run({ x }, ({ x }) => f(x!, 0)), await run({ x }, ({ x }) => f(0, x!))])
        assert.isTrue(y.every(Number.isNaN), String(y));
  });

  it("bceWithLogits of NaN, and of logits and targets at the ends", async () => {
    const x = Float32Array.of(NaN, NaN, 0, 1e6, -1e6, 3e38, -3e38, Infinity);
    const t = Float32Array.of(0, 1, NaN, 1, 0, 1, 0, 1);
    const y = await run({ x, t }, ({ x, t }) => bceWithLogits(x!, t!));
    assertNumbers(y, [NaN, NaN, NaN, 0, 0, 0, 0, NaN], (i) => `bce(${x[i]}, ${t[i]})`);
  });

  it("cast to integers gives the ends of the range beyond it, and 0 of NaN", async () => {
    const x = Float32Array.of(NaN, -1.9, 1.9, 3e9, -3e9, Infinity, -Infinity, 3e38);
    const near = (y: readonly number[], expected: readonly number[]) =>
      y.forEach((v, i) =>
        assert.closeTo(v, expected[i]!, Math.abs(expected[i]!) * 2 ** -23, `cast(${x[i]})`),
      );
    const high = 2 ** 31 - 1;
    near(await run({ x }, ({ x }) => cast(x!, "i32")), [0, -1, 1, high, -high - 1, high, -high - 1, high]);
    const top = 2 ** 32 - 1;
    near(await run({ x }, ({ x }) => cast(x!, "u32")), [0, 0, 1, 3e9, 0, top, 0, top]);
  });

  it("reductions pass on NaN wherever it stands, and infinities", async () => {
    // One thread an output, along 4-vectors and not, and a workgroup an output.
    for (const [rows, size] of [
      [3, 5],
      [3, 8],
      [1, 20000],
      [1, 20001],
    ] as const)
      for (const at of [0, 1, 2, 3, size - 1])
        for (const planted of [NaN, Infinity, -Infinity]) {
          const x = new Float32Array(rows * size).fill(-2);
          x[at] = planted;
          const f = (reduce: typeof sum) =>
            run({ x }, ({ x }) => reduce(reshape(x!, [rows, size]), { axes: [1] }));
          const others = Array<number>(rows - 1).fill(-2);
          const label = () => `${planted} at ${at} of ${size}`;
          assertNumbers(await f(maxOver), [Math.max(planted, -2), ...others], label);
          assertNumbers(await f(mean), [planted, ...others], label);
        }
  });

  it("a tie of max or min gives the whole gradient to the first, and a NaN too", async () => {
    const a = Float32Array.of(1, 2, 3, -0, NaN, 1, Infinity, 5);
    const b = Float32Array.of(1, 3, 2, 0, 1, NaN, Infinity, 5);
    const dy = Float32Array.of(10, 20, 30, 40, 50, 60, 70, 80);
    const gradients = (f: typeof max, by: "a" | "b") =>
      run({ a, b, dy }, ({ a, b, dy }) => grad(sum(mul(f(a!, b!), dy!)), by === "a" ? a! : b!));
    assert.deepEqual(await gradients(max, "a"), [10, 0, 30, 40, 50, 60, 70, 80]);
    assert.deepEqual(await gradients(max, "b"), [0, 20, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(await gradients(min, "a"), [10, 20, 0, 40, 50, 60, 70, 80]);
    assert.deepEqual(await gradients(min, "b"), [0, 0, 30, 0, 0, 0, 0, 0]);
    // One tensor as both: the gradient comes through once.
    for (const f of [max, min])
      assert.deepEqual(await run({ a: b, dy }, ({ a, dy }) => grad(sum(mul(f(a!, a!), dy!)), a!)), [...dy]);
  });

  it("expressions of numbers alone have the same results as tensors", async () => {
    const device = await testDevice();
    for (const [name, f, expected] of [
      ["1 / 0", () => div(1, 0), Infinity],
      ["-1 / 0", () => div(-1, 0), -Infinity],
      ["0 / 0", () => div(0, 0), NaN],
      ["1 mod 0", () => remainder(1, 0), NaN],
      ["log 0", () => log(0), -Infinity],
      ["log -1", () => log(-1), NaN],
      ["sqrt -1", () => sqrt(-1), NaN],
      ["1 / sqrt 0", () => inverseSqrt(0), Infinity],
      ["exp 1000", () => exp(1000), Infinity],
      ["1e38 squared", () => square(1e38), Infinity],
      ["3e38 + 3e38", () => add(3e38, 3e38), Infinity],
      ["log 0 + [1]", () => reshape(add(log(0), constant([1])), []), -Infinity],
      ["2^31 - 1 + 1", () => add(scalar(2 ** 31 - 1, "i32"), scalar(1, "i32")), -(2 ** 31)],
      ["0 - 1 as u32", () => sub(scalar(0, "u32"), scalar(1, "u32")), 2 ** 32 - 1],
      ["-1 as u32", () => cast(-1, "u32"), 0],
    ] as const)
      assertNumbers([(await read(device, f()))[0]!], [expected], () => name);
  });

  it("carries NaN and infinities that come as data", async () => {
    const device = await testDevice();
    const y = await read(device, where(constant(Int32Array.of(0, 1, 0)), 1, constant([-Infinity])));
    assert.deepEqual([...y], [-Infinity, 1, -Infinity]);
    assert.deepEqual([...full([2], Infinity).data], [Infinity, Infinity]);
    assert.isTrue(Number.isNaN(constant([NaN]) && full([1], NaN).data[0]));
  });

  const refused: readonly (readonly [string, () => unknown, RegExp])[] = [
    [
      "Infinity as a factor",
      () => mul(position([2], "f32"), 1 / 0),
      /got Infinity; expected a finite f32.*constant/,
    ],
    ["NaN as a factor", () => scale(position([2], "f32"), NaN), /got NaN/],
    ["-Infinity in a mask", () => where(position([2]), 1, -Infinity), /got -Infinity/],
    ["1e39 as a number", () => add(position([2], "f32"), 1e39), /got 1e\+39/],
    ["a fraction beside integers", () => add(position([2]), 0.5), /got 0.5; expected an integer/],
    ["2^31 beside integers", () => max(position([2]), 2 ** 31), /got 2147483648; expected an integer/],
    ["NaN beside integers", () => less(position([2]), NaN), /got NaN; expected an integer/],
    ["-1 beside u32", () => equal(position([2], "u32"), -1), /got -1; expected an integer from 0/],
    ["an integer divided by 0", () => div(position([2]), 0), /div.*i32\[2\].*divisor 0/],
    ["an integer divided by a scalar 0", () => div(position([2]), scalar(0, "i32")), /divisor 0/],
    ["the remainder of u32 by 0", () => remainder(position([2], "u32"), 0), /remainder.*divisor 0/],
    [
      "integers from an empty range",
      () => randomInt(position([2], "u32"), [2], 0, 3, 3),
      /randomInt: got 3 to 3/,
    ],
    [
      "integers from a fraction",
      () => randomInt(position([2], "u32"), [2], 0, 0.5, 3),
      /randomInt: got 0.5 to 3/,
    ],
    ["full of 1e39", () => full([2], 1e39), /full: .*1e\+39.*f32/],
    ["constants of 1e39", () => constant([1, -1e39]), /constant: element 1 is .*-1e\+39/],
    ["an infinite deviation", () => truncatedNormal([2], Infinity), /truncatedNormal: got .*Infinity/],
  ];
  for (const [name, f, message] of refused)
    it(`refuses ${name} while tracing`, () => {
      assert.throws(f, UsageError, message);
      // The same inside a trace, before any kernel is compiled.
      assert.throws(
        () => plan({ capabilities: baselineCapabilities }, {}, () => void f()),
        UsageError,
        message,
      );
    });

  it("refuses rotary tables that would hold NaN", () => {
    for (const theta of [NaN, Infinity, 0, -10])
      assert.throws(() => ropeTables({ length: 4, headDim: 8, theta }), /theta = /);
  });

  it("refuses an eps or epsilon that is not positive in f32", () => {
    for (const eps of [NaN, Infinity, 0, -1, 1e39, 1e-50, 1e-40]) {
      assert.throws(() => rmsNorm({ rows: 2, size: 4, eps }, baselineCapabilities), KernelError, /eps = /);
      const adam = { count: 4, beta1: 0.9, beta2: 0.99, weightDecay: 0, epsilon: eps };
      assert.throws(() => adamW(adam, baselineCapabilities), KernelError, /epsilon = /);
    }
  });

  it("integers that no number divides keep WGSL's rule", async () => {
    const device = await testDevice();
    const by = (dtype: Dtype) => cast(sub(position([3], dtype), scalar(1, dtype)), dtype);
    const program = await compile(device, { x: i32(3) }, ({ x }) => ({
      q: div(x, by("i32")),
      r: remainder(x, by("i32")),
    }));
    await program.run({ x: Int32Array.of(7, 7, 7) });
    assert.deepEqual([...(await program.read("q"))], [-7, 7, 7]);
    assert.deepEqual([...(await program.read("r"))], [0, 0, 0]);
    program.destroy();
  });
});
