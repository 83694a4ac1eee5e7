/**
 * Operations of `hrm-webgpu/engine/operations`: values against float64, gradients and second gradients by differences. The file
 * is longer than 400 lines because the tables of gradients list the operations that the tables of values list.
 */
import { assert } from "chai";
import { checkGradient } from "../../engine/check_gradient.js";
import {
  add,
  compile,
  constant,
  DtypeError,
  f32,
  grad,
  mul,
  ShapeError,
  silu,
  slice,
  square,
  stopGradient,
  sub,
  sum,
  takeRows,
  UsageError,
  type Tensor,
} from "../../engine/index.js";
import * as op from "../../engine/operations.js";
import { testDevice } from "../support/device.js";
import { random } from "../support/random.js";
import { thrown } from "../support/rejection.js";

/** What a function of tensors gives for these inputs. */
async function run(
  f: (...inputs: Tensor[]) => Tensor,
  ...inputs: readonly { data: Float32Array; shape: number[] }[]
): Promise<{ values: number[]; shape: readonly number[] }> {
  const specs = Object.fromEntries(inputs.map(({ shape }, i) => [`x${i}`, f32(...shape)]));
  const program = await compile(await testDevice(), specs, (x) => ({ y: f(...Object.values(x)) }));
  const outputs = await program.call(Object.fromEntries(inputs.map(({ data }, i) => [`x${i}`, data])));
  const { shape } = program.plan.outputs.y;
  program.destroy();
  return { values: [...outputs.y], shape };
}

const tensor = (data: Float32Array, ...shape: number[]) => ({ data, shape });

/** The error function by its series in float64, which converges for every x here. */
function erf(x: number): number {
  let [term, total] = [x, x];
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}

const even = (x: number): number => {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
};

describe("elementwise functions", () => {
  /** Function, reference, range, and units of 2^-24 that a result may be off: of itself, and in absolute terms. */
  const cases: [string, (x: Tensor) => Tensor, (x: number) => number, [number, number], number, number][] = [
    ["tanh", op.tanh, Math.tanh, [-9, 9], 8, 0],
    ["sin", op.sin, Math.sin, [-300, 300], 4, 4],
    ["cos", op.cos, Math.cos, [-300, 300], 4, 4],
    ["erf", op.erf, erf, [-4, 4], 8, 0],
    ["gelu", op.gelu, (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)), [-4, 4], 8, 16],
    ["relu", op.relu, (x) => Math.max(x, 0), [-1, 1], 0, 0],
    ["round", op.round, even, [-9, 9], 0, 0],
    ["ceil", op.ceil, Math.ceil, [-9, 9], 0, 0],
    ["clamp", (x) => op.clamp(x, -0.5, 0.25), (x) => Math.min(Math.max(x, -0.5), 0.25), [-1, 1], 0, 0],
    ["pow 3", (x) => op.pow(x, 3), (x) => x ** 3, [-3, 3], 4, 0],
    ["pow -2", (x) => op.pow(x, -2), (x) => x ** -2, [0.5, 3], 16, 0],
    // The exponent n log x is rounded, and e^ of it by as many units as it is large.
    ["pow 1.5", (x) => op.pow(x, 1.5), (x) => x ** 1.5, [0.1, 9], 40, 0],
  ];
  for (const [name, f, reference, [low, high], relative, absolute] of cases)
    it(`${name} is that of float64`, async () => {
      // Also values near 0 and between integers.
      const data = random(61, low, high);
      data.set([0.5, 1.5, 2.5, 0.001, 1e-6].filter((x) => x >= low && x <= high));
      const { values } = await run(f, tensor(data, 61));
      values.forEach((y, i) => {
        const expected = reference(data[i]!);
        const bound = 2 ** -24 * (relative * Math.abs(expected) + absolute);
        assert.closeTo(y, expected, bound, `${name}(${data[i]})`);
      });
    });

  it("keep NaN, and the ends of infinities", async () => {
    const data = Float32Array.of(NaN, Infinity, -Infinity);
    for (const [f, expected] of [
      [op.tanh, [NaN, 1, -1]],
      [op.erf, [NaN, 1, -1]],
      [op.sin, [NaN, NaN, NaN]],
      [op.relu, [NaN, Infinity, 0]],
      [op.round, [NaN, Infinity, -Infinity]],
    ] as const)
      assert.deepEqual((await run(f, tensor(data, 3))).values, [...expected]);
  });
});

/** Row-major positions of a matrix's rows. */
const rowsOf = (data: ArrayLike<number>, n: number): number[][] =>
  Array.from({ length: data.length / n }, (_, r) => Array.from({ length: n }, (_, k) => data[r * n + k]!));

describe("operations over axes", () => {
  const [R, N] = [3, 5];
  const cases: [string, (x: Tensor) => Tensor, (row: number[]) => number[], number][] = [
    [
      "softmax",
      (x) => op.softmax(x),
      (row) => row.map((v) => Math.exp(v) / row.reduce((s, w) => s + Math.exp(w), 0)),
      32,
    ],
    [
      "logSoftmax",
      (x) => op.logSoftmax(x),
      (row) => row.map((v) => v - Math.log(row.reduce((s, w) => s + Math.exp(w), 0))),
      32,
    ],
    [
      "layerNorm",
      (x) => op.layerNorm(x),
      (row) => {
        const mean = row.reduce((a, b) => a + b) / N;
        const variance = row.reduce((s, v) => s + (v - mean) ** 2, 0) / N;
        return row.map((v) => (v - mean) / Math.sqrt(variance + 1e-5));
      },
      64,
    ],
    ["reduceMax", (x) => op.reduceMax(x, { axes: [1] }), (row) => [Math.max(...row)], 0],
    ["reduceMin", (x) => op.reduceMin(x, { axes: [1] }), (row) => [Math.min(...row)], 0],
    ["reduceProd", (x) => op.reduceProd(x), (row) => [row.reduce((a, b) => a * b)], 8],
    [
      "cumsum",
      (x) => op.cumsum(x),
      (row) => row.map((_, k) => row.slice(0, k + 1).reduce((a, b) => a + b)),
      16,
    ],
    ["argmax", (x) => op.argmax(x), (row) => [row.indexOf(Math.max(...row))], 0],
    ["sort", (x) => op.sort(x).values, (row) => [...row].sort((a, b) => a - b), 0],
    ["topk", (x) => op.topk(x, 2).values, (row) => [...row].sort((a, b) => b - a).slice(0, 2), 0],
    [
      "topk indices",
      (x) => op.topk(x, 2).indices,
      (row) =>
        row
          .map((v, k) => [v, k] as const)
          .sort((a, b) => b[0] - a[0])
          .slice(0, 2)
          .map(([, k]) => k),
      0,
    ],
    ["flip", (x) => op.flip(x), (row) => [...row].reverse(), 0],
  ];
  for (const [name, f, reference, units] of cases)
    it(`${name} is that of float64 along rows`, async () => {
      const data = random(R * N, -2, 2);
      const { values } = await run(f, tensor(data, R, N));
      const expected = rowsOf(data, N).flatMap(reference);
      assert.lengthOf(values, expected.length);
      values.forEach((y, i) =>
        assert.closeTo(
          y,
          expected[i]!,
          2 ** -24 * units * Math.max(1, Math.abs(expected[i]!)),
          `element ${i}`,
        ),
      );
    });

  it("take other axes", async () => {
    const data = random(24, -2, 2);
    const x = tensor(data, 2, 3, 4);
    const { values, shape } = await run((t) => op.cumsum(t, 1), x);
    assert.deepEqual([...shape], [2, 3, 4]);
    for (let b = 0; b < 2; b++)
      for (let c = 0; c < 4; c++) {
        let total = 0;
        for (let k = 0; k < 3; k++) {
          total += data[12 * b + 4 * k + c]!;
          assert.closeTo(values[12 * b + 4 * k + c]!, total, 8 * 2 ** -24);
        }
      }
    const largest = await run((t) => op.argmax(t, 0), x);
    assert.deepEqual(
      largest.values,
      Array.from({ length: 12 }, (_, i) => (data[12 + i]! > data[i]! ? 1 : 0)),
    );
    const product = await run((t) => op.reduceProd(t, 0), x);
    product.values.forEach((y, i) => assert.equal(y, Math.fround(data[i]! * data[12 + i]!)));
  });

  it("share gradients between ties, take the first of equal elements, and keep infinities and NaN", async () => {
    const x = tensor(Float32Array.of(3, 1, 3, 3), 4);
    const shares = await run((t) => grad(sum(op.reduceMax(t)), t), x);
    assert.deepEqual(
      shares.values,
      [1, 0, 1, 1].map((v) => Math.fround(v / 3)),
    );
    assert.deepEqual((await run((t) => op.argmax(t), x)).values, [0]);
    assert.deepEqual((await run((t) => op.sort(t).indices, x)).values, [1, 0, 2, 3]);
    const ends = tensor(Float32Array.of(-Infinity, 2, Infinity, 1), 4);
    assert.deepEqual((await run((t) => op.reduceMax(t), ends)).values, [Infinity]);
    assert.deepEqual((await run((t) => op.argmax(t), tensor(Float32Array.of(1, NaN, 9), 3))).values, [1]);
    // Two zeros: the product and every gradient are 0; one zero: its own gradient is the product of the others.
    const zeros = (await run((t) => grad(sum(op.reduceProd(t)), t), tensor(Float32Array.of(2, 0, 5), 3)))
      .values;
    assert.deepEqual(zeros, [0, 10, 0]);
  });
});

describe("operations that arrange elements", () => {
  it("stack, split, pad, tile, flip, gather and scatter as they say", async () => {
    const x = tensor(Float32Array.of(1, 2, 3, 4, 5, 6), 2, 3);
    const indices = constant(Int32Array.of(2, 0, 1, 1), [2, 2]);
    const cases: [(x: Tensor) => Tensor, number[], number[]][] = [
      [(t) => op.stack([t, mul(t, 10)], 1), [2, 2, 3], [1, 2, 3, 10, 20, 30, 4, 5, 6, 40, 50, 60]],
      [(t) => op.split(t, [1, 2], 1)[1]!, [2, 2], [2, 3, 5, 6]],
      [(t) => op.split(t, 3, 1)[2]!, [2, 1], [3, 6]],
      [
        (t) =>
          op.pad(
            t,
            [
              [1, 0],
              [0, 2],
            ],
            7,
          ),
        [3, 5],
        [7, 7, 7, 7, 7, 1, 2, 3, 7, 7, 4, 5, 6, 7, 7],
      ],
      [
        (t) => op.tile(t, [2, 2]),
        [4, 6],
        [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6, 1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6],
      ],
      [(t) => op.flip(t, 0), [2, 3], [4, 5, 6, 1, 2, 3]],
      [(t) => op.gather(t, indices, 1), [2, 2], [3, 1, 5, 5]],
      [(t) => op.scatterAdd(t, indices, slice(t, [0, 0], [2, 2]), 1), [2, 3], [3, 2, 4, 4, 14, 6]],
      [
        (t) =>
          op.concatenate(
            Array.from({ length: 9 }, () => slice(t, [0, 0], [1, 1])),
            1,
          ),
        [1, 9],
        new Array<number>(9).fill(1),
      ],
    ];
    for (const [f, shape, expected] of cases) {
      const result = await run(f, x);
      assert.deepEqual([...result.shape], shape);
      assert.deepEqual(result.values, expected);
    }
    const hot = await run((t) => mul(op.oneHot(indices, 3), sum(t)), x);
    assert.deepEqual(hot.values, [0, 0, 21, 21, 0, 0, 0, 21, 0, 0, 21, 0]);
  });

  it("refuse shapes and arguments that do not fit", () => {
    const x = constant(new Float32Array(6), [2, 3]);
    const cases: [() => unknown, new (message: string) => Error, RegExp][] = [
      [() => op.softmax(x, 2), ShapeError, /axis 2 of f32\[2, 3\]/],
      [() => op.split(x, 2, 1), ShapeError, /add up/],
      [() => op.pad(x, [[1, 1]]), ShapeError, /pad: got 1 pairs/],
      [() => op.topk(x, 4), ShapeError, /k = 4/],
      [() => op.dropout(x, 1, constant(new Uint32Array(2)), 0), UsageError, /rate 1/],
      [() => op.clamp(x, 1, 0), UsageError, /1 to 0/],
      [() => op.gather(x, constant(Int32Array.of(1))), ShapeError, /gather/],
      [() => op.oneHot(x, 2), DtypeError, /oneHot/],
      [() => op.einsum("ij,jk->ik", x, x), ShapeError, /the letter j stands for 3 and for 2/],
      [() => op.einsum("ii->i", x), ShapeError, /different letters/],
      [() => op.conv2d(x, x), ShapeError, /\[B, H, W, C\]/],
    ];
    for (const [body, Class, message] of cases) {
      const error = thrown(body);
      assert.instanceOf(error, Class);
      assert.match(error.message, message);
    }
  });
});

describe("products", () => {
  it("einsum sums what its letters say", async () => {
    const [a, b] = [random(24), random(36)];
    const A = (b0: number, i: number, k: number): number => a[12 * b0 + 4 * i + k]!;
    const close = (values: number[], expected: number[]): void => {
      assert.lengthOf(values, expected.length);
      // At most 24 products of numbers below 1.
      values.forEach((v, i) => assert.closeTo(v, expected[i]!, 24 * 2 ** -22, `element ${i}`));
    };
    const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
    const B = (b0: number, k: number, j: number): number => b[12 * b0 + 3 * k + j]!;
    const first = await run(
      (x, y) => op.einsum("bik,bkj->bji", x, y),
      tensor(a, 2, 3, 4),
      tensor(b.slice(0, 24), 2, 4, 3),
    );
    assert.deepEqual([...first.shape], [2, 3, 3]);
    close(
      first.values,
      range(2).flatMap((n) =>
        range(3).flatMap((j) =>
          range(3).map((i) => range(4).reduce((s, k) => s + A(n, i, k) * B(n, k, j), 0)),
        ),
      ),
    );
    close(
      (await run((x) => op.einsum("bik->i", x), tensor(a, 2, 3, 4))).values,
      range(3).map((i) => range(2).reduce((s, n) => s + range(4).reduce((t, k) => t + A(n, i, k), 0), 0)),
    );
    const [u, v, w] = [random(2), random(3), random(3)];
    close(
      (await run((x, y, z) => op.einsum("i,j,j->ji", x, y, z), tensor(u, 2), tensor(v, 3), tensor(w, 3)))
        .values,
      range(3).flatMap((j) => range(2).map((i) => u[i]! * v[j]! * w[j]!)),
    );
  });

  it("attention from separate tensors is softmax(q k^T / sqrt(D)) v under its mask", async () => {
    const [S, T, D, E] = [3, 4, 5, 2];
    const [q, k, v] = [random(S * D), random(T * D), random(T * E)];
    const may = (i: number, j: number): boolean => j <= i && j !== 1;
    const mask = constant(
      Int32Array.from({ length: S * T }, (_, at) => (at % T !== 1 ? 1 : 0)),
      [S, T],
    );
    const { values } = await run(
      (x, y, z) => op.scaledDotProductAttention(x, y, z, { mask, causal: true }),
      ...[tensor(q, S, D), tensor(k, T, D), tensor(v, T, E)],
    );
    for (let i = 0; i < S; i++) {
      const weights = Array.from({ length: T }, (_, j) => {
        let score = 0;
        for (let d = 0; d < D; d++) score += q[i * D + d]! * k[j * D + d]!;
        return may(i, j) ? Math.exp(score / Math.sqrt(D)) : 0;
      });
      const total = weights.reduce((a, b) => a + b);
      for (let e = 0; e < E; e++) {
        const expected = weights.reduce((s, weight, j) => s + (weight / total) * v[j * E + e]!, 0);
        assert.closeTo(values[i * E + e]!, expected, 32 * 2 ** -24);
      }
    }
  });

  it("conv2d, conv1d and pooling are those of their formulas, with stride, padding and dilation", async () => {
    const [B, H, W, C, O, K] = [2, 5, 4, 2, 3, 2];
    const [x, w] = [random(B * H * W * C), random(K * K * C * O)];
    const at = (b: number, h: number, ww: number, c: number): number =>
      h < 0 || ww < 0 || h >= H || ww >= W ? 0 : x[((b * H + h) * W + ww) * C + c]!;
    const result = await run(
      (t, u) => op.conv2d(t, u, { stride: [2, 1], padding: 1, dilation: [1, 2] }),
      tensor(x, B, H, W, C),
      tensor(w, K, K, C, O),
    );
    const [OH, OW] = [Math.floor((H + 2 - 2) / 2) + 1, W + 2 - 3 + 1];
    assert.deepEqual([...result.shape], [B, OH, OW, O]);
    let i = 0;
    for (let b = 0; b < B; b++)
      for (let oh = 0; oh < OH; oh++)
        for (let ow = 0; ow < OW; ow++)
          for (let o = 0; o < O; o++) {
            let total = 0;
            for (let kh = 0; kh < K; kh++)
              for (let kw = 0; kw < K; kw++)
                for (let c = 0; c < C; c++)
                  total += at(b, 2 * oh - 1 + kh, ow - 1 + 2 * kw, c) * w[((kh * K + kw) * C + c) * O + o]!;
            assert.closeTo(result.values[i++]!, total, K * K * C * 2 ** -22);
          }
    const line = await run(
      (t, u) => op.conv1d(t, u, { bias: constant([1, 2, 3]) }),
      tensor(x.slice(0, 16), 2, 4, 2),
      tensor(w.slice(0, 12), 2, 2, 3),
    );
    assert.deepEqual([...line.shape], [2, 3, 3]);
    assert.closeTo(
      line.values[0]!,
      1 + x[0]! * w[0]! + x[1]! * w[3]! + x[2]! * w[6]! + x[3]! * w[9]!,
      4 * 2 ** -22,
    );
    const pooled = await run((t) => op.maxPool2d(t, 2), tensor(x, B, H, W, C));
    assert.deepEqual([...pooled.shape], [B, 2, 2, C]);
    assert.equal(pooled.values[0], Math.max(at(0, 0, 0, 0), at(0, 0, 1, 0), at(0, 1, 0, 0), at(0, 1, 1, 0)));
    const averaged = await run((t) => op.avgPool2d(t, 2), tensor(x, B, H, W, C));
    assert.closeTo(
      averaged.values[0]!,
      (at(0, 0, 0, 0) + at(0, 0, 1, 0) + at(0, 1, 0, 0) + at(0, 1, 1, 0)) / 4,
      4 * 2 ** -24,
    );
  });

  it("batchedMatmul broadcasts leading dimensions", async () => {
    const [a, b] = [random(2 * 1 * 2 * 3), random(3 * 3 * 2)];
    const { values, shape } = await run(
      (x, y) => op.batchedMatmul(x, y),
      tensor(a, 2, 1, 2, 3),
      tensor(b, 3, 3, 2),
    );
    assert.deepEqual([...shape], [2, 3, 2, 2]);
    values.forEach((v, i) => {
      const [n, m, r, c] = [Math.floor(i / 12), Math.floor(i / 4) % 3, Math.floor(i / 2) % 2, i % 2];
      let total = 0;
      for (let k = 0; k < 3; k++) total += a[6 * n + 3 * r + k]! * b[6 * m + 2 * k + c]!;
      assert.closeTo(v, total, 3 * 2 ** -22);
    });
  });
});

describe("random operations", () => {
  it("randomNormal has the moments of a normal distribution, dropout keeps the mean, and both repeat", async () => {
    const key = constant(Uint32Array.of(11, 5));
    const count = 8192;
    const x = tensor(new Float32Array(count).fill(1), count);
    const normal = (t: Tensor): Tensor => mul(op.randomNormal(key, [count], 3), t);
    const { values } = await run(normal, x);
    assert.deepEqual((await run(normal, x)).values, values);
    const moment = (p: number): number => values.reduce((s, v) => s + v ** p, 0) / count;
    // Five standard errors of each moment.
    for (const [p, expected, variance] of [
      [1, 0, 1],
      [2, 1, 2],
      [3, 0, 15],
      [4, 3, 96],
    ] as const)
      assert.closeTo(moment(p), expected, 5 * Math.sqrt(variance / count), `moment ${p}`);
    const dropped = (await run((t) => op.dropout(t, 0.25, key, 1), x)).values;
    const kept = dropped.filter((v) => v !== 0);
    assert.isTrue(kept.every((v) => v === Math.fround(1 / 0.75)));
    assert.closeTo(kept.length / count, 0.75, 5 * Math.sqrt((0.75 * 0.25) / count));
  });
});

describe("gradients of operations", () => {
  const w = constant(
    Float32Array.from({ length: 16 }, (_, i) => Math.sin(i + 1)),
    [2, 2, 2, 2],
  );
  const table = constant(Int32Array.of(1, 0, 1));
  /** Function, shape of its input, range. */
  const cases: Record<string, [(x: Tensor) => Tensor, number[], [number, number]?]> = {
    tanh: [op.tanh, [4]],
    sin: [op.sin, [4], [-3, 3]],
    cos: [op.cos, [4], [-3, 3]],
    erf: [op.erf, [4]],
    gelu: [op.gelu, [4]],
    silu: [silu, [4]],
    "pow 3": [(x) => op.pow(x, 3), [4]],
    "pow 0.5": [(x) => op.pow(x, 0.5), [4], [0.5, 2]],
    softmax: [(x) => op.softmax(x), [2, 3]],
    logSoftmax: [(x) => op.logSoftmax(x, 0), [2, 3]],
    // Elements that random draws leave nearly equal have derivatives that differences cannot follow.
    layerNorm: [
      (x) => op.layerNorm(add(x, constant([-3, 0, 3])), { gain: constant([1, 2, 3]), bias: 1 }),
      [2, 3],
    ],
    reduceProd: [(x) => op.reduceProd(x), [2, 3]],
    cumsum: [(x) => op.tanh(op.cumsum(x)), [2, 3]],
    flip: [(x) => op.tanh(op.flip(x)), [2, 3]],
    gather: [(x) => op.tanh(op.gather(x, constant(Int32Array.of(1, 0, 1), [1, 3]), 0)), [2, 3]],
    takeRows: [(x) => op.tanh(takeRows(x, table)), [2, 3]],
    slice: [(x) => op.tanh(slice(x, [0, 1], [2, 2])), [2, 3]],
    scatterAdd: [
      (x) => op.tanh(op.scatterAdd(x, constant(Int32Array.of(0, 0, 1), [1, 3]), slice(x, [1, 0], [1, 3]), 0)),
      [2, 3],
    ],
    pad: [
      (x) =>
        op.tanh(
          op.pad(x, [
            [1, 0],
            [0, 1],
          ]),
        ),
      [2, 3],
    ],
    tile: [(x) => op.tanh(op.tile(x, [2, 1])), [2, 3]],
    stack: [(x) => op.tanh(op.stack([x, mul(x, x)])), [2, 3]],
    einsum: [(x) => op.einsum("ij,kj->ik", x, op.tanh(x)), [2, 3]],
    attention: [(x) => op.scaledDotProductAttention(x, op.sin(x), op.cos(x), { causal: true }), [2, 3]],
    conv2d: [(x) => op.tanh(op.conv2d(x, w, { padding: 1 })), [1, 2, 2, 2]],
    avgPool2d: [(x) => op.tanh(op.avgPool2d(x, 2)), [1, 2, 2, 2]],
  };
  for (const [name, [f, shape, [low, high] = [-1, 1]]] of Object.entries(cases))
    it(`${name}: first and second gradient agree with finite differences @slow`, async () => {
      const size = shape.reduce((a, b) => a * b);
      const x = { data: random(size, low, high), shape };
      const device = await testDevice();
      const first = await checkGradient(device, ({ x: t }) => f(t), { x });
      assert.isAtMost(first.worst, 1, JSON.stringify(first));
      const second = await checkGradient(device, ({ x: t }) => grad(sum(mul(f(t), f(t))), t), { x });
      assert.isAtMost(second.worst, 1, `second: ${JSON.stringify(second)}`);
    });

  it("checkGradient finds a wrong one", async () => {
    const device = await testDevice();
    const x = { data: Float32Array.of(0.5, -0.7), shape: [2] };
    const right = await checkGradient(device, ({ x: t }) => square(t), { x });
    assert.isAtMost(right.worst, 1);
    // The value of x^2, and a gradient that is 0.05 too large.
    const wrong = (t: Tensor): Tensor => add(square(t), mul(0.05, sub(t, stopGradient(t))));
    const found = await checkGradient(device, ({ x: t }) => wrong(t), { x });
    assert.isAbove(found.worst, 1);
  });
});
