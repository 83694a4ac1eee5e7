/**
 * What a traced function may do with variables and tensors, and how its mistakes are named. The file is longer than 400 lines
 * because its second half is one table of mistakes.
 */
import { assert } from "chai";
import {
  add,
  assign,
  attention,
  bitAnd,
  cast,
  compile,
  concat,
  constant,
  crossEntropy,
  DtypeError,
  exp,
  f32,
  hostTensor,
  i32,
  less,
  linear,
  matmul,
  mean,
  mul,
  neg,
  plan,
  position,
  randomBits,
  randomUniform,
  read,
  reshape,
  rmsNorm,
  rope,
  scalar,
  scale,
  ShapeError,
  shiftRight,
  slice,
  square,
  sub,
  sum,
  swiglu,
  takeRows,
  transpose,
  u32,
  UsageError,
  variable,
  where,
  LimitError,
  type EngineError,
  type Tensor,
  type Variable,
} from "../../engine/index.js";
import { baselineCapabilities } from "../../kernels/capabilities.js";
import { testDevice } from "../support/device.js";
import { assertClose, random } from "../support/random.js";

/** A variable of one dimension. */
async function vector(name: string, ...values: number[]): Promise<Variable> {
  return variable(await testDevice(), hostTensor(Float32Array.from(values), [values.length]), name);
}

/** Compiles, runs once and reads everything. */
async function once(body: () => Record<string, Tensor> | void): Promise<Record<string, readonly number[]>> {
  const step = await compile(await testDevice(), {}, body);
  await step.run();
  const names = Object.keys(step.plan.outputs);
  const values = await Promise.all(names.map(async (n) => [n, [...(await step.read(n))]] as const));
  step.destroy();
  return Object.fromEntries(values);
}

describe("variables in a program", () => {
  it("keep the old value for reads before an assignment", async () => {
    const w = await vector("w", 1, 2, 3);
    const { before, after } = await once(() => {
      const before = mul(w, 10);
      assign(w, add(w, 1));
      return { before, after: mul(w, 10) };
    });
    assert.deepEqual(before, [10, 20, 30]);
    assert.deepEqual(after, [20, 30, 40]);
    assert.deepEqual([...(await w.read())], [2, 3, 4]);
    w.destroy();
  });

  it("swap", async () => {
    const [a, b] = [await vector("a", 1, 2), await vector("b", 3, 4)];
    await once(() => {
      const [oldA, oldB] = [mul(a, 1), mul(b, 1)];
      assign(a, oldB);
      assign(b, oldA);
    });
    assert.deepEqual([...(await a.read())], [3, 4]);
    assert.deepEqual([...(await b.read())], [1, 2]);
    await once(() => {
      const old = reshape(a, [1, 2]);
      assign(a, b);
      assign(b, reshape(old, [2]));
    });
    assert.deepEqual([...(await a.read())], [1, 2]);
    assert.deepEqual([...(await b.read())], [3, 4]);
    a.destroy();
    b.destroy();
  });

  it("rotate three, and feed a fourth", async () => {
    const [a, b, c] = [await vector("a", 1), await vector("b", 2), await vector("c", 3)];
    await once(() => {
      const old = a.tensor;
      assign(a, b);
      assign(b, c);
      assign(c, old);
    });
    assert.deepEqual([...(await a.read()), ...(await b.read()), ...(await c.read())], [2, 3, 1]);
    for (const v of [a, b, c]) v.destroy();
  });

  it("take the last of several assignments", async () => {
    const w = await vector("w", 5);
    await once(() => {
      assign(w, add(w, 1));
      assign(w, mul(w, 2));
      assign(w, add(w, 3));
    });
    assert.deepEqual([...(await w.read())], [15]);
    w.destroy();
  });

  it("stay as they are when assigned to themselves", async () => {
    const w = await vector("w", 5);
    const { y } = await once(() => {
      assign(w, reshape(w, [1]));
      return { y: add(w, 1) };
    });
    assert.deepEqual(y, [6]);
    assert.deepEqual([...(await w.read())], [5]);
    w.destroy();
  });

  it("may share their value with an output and with another variable", async () => {
    const [a, b] = [await vector("a", 1), await vector("b", 2)];
    const { y, z } = await once(() => {
      const y = add(a, b);
      assign(a, y);
      assign(b, y);
      return { y, z: y };
    });
    assert.deepEqual([y, z], [[3], [3]]);
    assert.deepEqual([...(await a.read()), ...(await b.read())], [3, 3]);
    a.destroy();
    b.destroy();
  });

  it("are outputs as they stand at the end of the trace", async () => {
    const w = await vector("w", 1);
    const step = await compile(await testDevice(), {}, () => {
      assign(w, add(w, 1));
      return { w, seven: 7 };
    });
    await step.run();
    assert.deepEqual([...(await step.read("w"))], [2]);
    assert.deepEqual([...(await step.read("seven"))], [7]);
    step.destroy();
    w.destroy();
  });

  it("update in place even if a broadcast of the old value is read too", async () => {
    const device = await testDevice();
    const w = variable(device, hostTensor(Float32Array.of(1, 2, 3, 4), [2, 2]), "w");
    await once(() => {
      assign(w, add(w, sum(w, { axes: [0], keepDims: true })));
    });
    assert.deepEqual([...(await w.read())], [5, 8, 7, 10]);
    await once(() => {
      assign(w, add(w, transpose(w)));
    });
    assert.deepEqual([...(await w.read())], [10, 15, 15, 20]);
    w.destroy();
  });

  it("count up over run(times)", async () => {
    const w = await vector("w", 0);
    const step = await compile(await testDevice(), { x: f32(1) }, ({ x }) => {
      assign(w, add(scale(w, 2), x));
      return { w };
    });
    await step.run({ x: Float32Array.of(1) }, 5);
    assert.deepEqual([...(await step.read("w"))], [31]);
    await step.run({}, 1);
    assert.deepEqual([...(await step.read("w"))], [63], "the input kept its value");
    await step.run({ x: Float32Array.of(0) });
    assert.deepEqual([...(await step.read("w"))], [126]);
    step.destroy();
    w.destroy();
  });

  it("start from zeros, data or a write, and are read back unchanged", async () => {
    const device = await testDevice();
    const z = variable(device, { shape: [3], dtype: "i32" }, "z");
    assert.deepEqual([...(await z.read())], [0, 0, 0]);
    z.write(Int32Array.of(-1, 2 ** 31 - 1, -(2 ** 31)));
    assert.deepEqual([...(await z.read())], [-1, 2 ** 31 - 1, -(2 ** 31)]);
    z.destroy();
  });
});

describe("tensors", () => {
  it("read eagerly: constants, literals, views and positions of every dtype", async () => {
    const device = await testDevice();
    assert.deepEqual([...(await read(device, constant([1.5, -2])))], [1.5, -2]);
    assert.deepEqual([...(await read(device, scalar(-3, "i32")))], [-3]);
    assert.deepEqual([...(await read(device, scalar(4294967295, "u32")))], [4294967295]);
    assert.deepEqual([...(await read(device, scalar(1e-30)))], [Math.fround(1e-30)]);
    assert.deepEqual(
      [...(await read(device, reshape(constant(Uint32Array.of(1, 2, 3, 4)), [2, 2])))],
      [1, 2, 3, 4],
    );
    assert.deepEqual([...(await read(device, position([2, 3])))], [0, 1, 2, 3, 4, 5]);
  });

  it("mix views, literals and broadcasts in one expression", async () => {
    const x = random(6);
    const device = await testDevice();
    const step = await compile(device, { x: f32(2, 3) }, ({ x }) => ({
      y: add(reshape(x, [3, 2]), mul(slice(reshape(x, [6]), [1], [2]), 3)),
      empty: reshape(sum(x), []),
    }));
    await step.run({ x });
    assertClose(
      await step.read("y"),
      x.map((v, i) => v + 3 * x[1 + (i % 2)]!),
      1e-6,
      "y",
    );
    assertClose(await step.read("empty"), [x.reduce((a, b) => a + b, 0)], 1e-6, "sum");
    assert.deepEqual(step.plan.outputs["empty"], { shape: [], dtype: "f32" });
    step.destroy();
  });

  it("draw the same random numbers for the same key and stream, others for others", async () => {
    const device = await testDevice();
    const key = (a: number, b: number): Tensor => constant(Uint32Array.of(a, b));
    const draw = async (k: Tensor, stream: number): Promise<number[]> => [
      ...(await read(device, randomBits(k, [5], stream))),
    ];
    const first = await draw(key(1, 2), 0);
    assert.deepEqual(await draw(key(1, 2), 0), first);
    for (const other of [await draw(key(1, 3), 0), await draw(key(2, 2), 0), await draw(key(1, 2), 1)])
      assert.isEmpty(other.filter((v) => first.includes(v)));
    const uniform = await read(device, randomUniform(key(1, 2), [4096], 0));
    assert.isTrue(uniform.every((v) => v >= 0 && v < 1));
    // The mean of 4096 uniform numbers has a deviation of 0.0045.
    assert.closeTo([...uniform].reduce((a, b) => a + b, 0) / 4096, 0.5, 0.025);
  });
});

describe("mistakes while tracing, which throw at once and name the operation and the shapes,", () => {
  type Inputs = { x: Tensor; w: Tensor; n: Tensor; u: Tensor };
  const inputs = { x: f32(2, 3), w: f32(4, 5), n: i32(3), u: u32(3) };
  const mistakes: readonly (readonly [
    string,
    (t: Inputs) => unknown,
    new (message: string) => EngineError,
    RegExp,
  ])[] = [
    [
      "shapes that do not broadcast",
      ({ x, w }) => add(x, w),
      ShapeError,
      /add: shapes \[2, 3\] and \[4, 5\]/,
    ],
    ["unlike dtypes", ({ x, n }) => add(x, n), DtypeError, /add: got f32\[2, 3\] and i32\[3\]/],
    ["a float operation on integers", ({ n }) => exp(n), DtypeError, /exp: got i32\[3\]/],
    ["bits of floats", ({ x }) => bitAnd(x, x), DtypeError, /bitAnd: got f32\[2, 3\]/],
    ["shifts of signed integers", ({ n }) => shiftRight(n, 1), DtypeError, /shiftRight: got i32\[3\]/],
    ["shifts by a whole word", ({ u }) => shiftRight(u, 32), UsageError, /shiftRight: got 32/],
    ["the negative of unsigned integers", ({ u }) => neg(u), DtypeError, /neg: got u32\[3\]/],
    ["a sum of unsigned integers", ({ u }) => sum(u), DtypeError, /sum: got u32\[3\]/],
    ["a mean of integers", ({ n }) => mean(n), DtypeError, /mean: got i32\[3\]/],
    ["a fraction beside integers", ({ n }) => add(n, 0.5), UsageError, /i32: got 0.5/],
    ["a negative number beside unsigned ones", ({ u }) => add(u, -1), UsageError, /u32: got -1/],
    ["a number that no f32 holds", ({ x }) => mul(x, 1e39), UsageError, /f32: got 1e\+39/],
    ["a condition of floats", ({ x }) => where(x, x, x), DtypeError, /where: got f32\[2, 3\]; expected i32/],
    [
      "inner dimensions",
      ({ x, w }) => matmul(x, w),
      ShapeError,
      /matmul \(nn\): got f32\[2, 3\] and f32\[4, 5\]/,
    ],
    [
      "batches of one size but another shape",
      () => matmul(constant(new Float32Array(24), [2, 3, 2, 2]), constant(new Float32Array(24), [6, 2, 2])),
      ShapeError,
      /f32\[2, 3, 2, 2\] and f32\[6, 2, 2\]/,
    ],
    [
      "both operands transposed",
      ({ x }) => matmul(x, x, { transposeA: true, transposeB: true }),
      ShapeError,
      /both transposed/,
    ],
    ["a product of vectors", ({ n, w }) => matmul(cast(n, "f32"), w), ShapeError, /f32\[3\]/],
    [
      "a bias of another length",
      ({ x }) => linear(x, x, constant([1, 2, 3])),
      ShapeError,
      /bias: got f32\[3\]; expected shape \[2\]/,
    ],
    [
      "a reshape of another size",
      ({ x }) => reshape(x, [4]),
      ShapeError,
      /reshape: got f32\[2, 3\].*6 elements/,
    ],
    ["two unknown dimensions", ({ x }) => reshape(x, [-1, -1]), ShapeError, /reshape: got f32\[2, 3\]/],
    [
      "a reshape with an odd remainder",
      ({ x }) => reshape(x, [4, -1]),
      ShapeError,
      /reshape: got f32\[2, 3\]/,
    ],
    [
      "a slice past the end",
      ({ x }) => slice(x, [0, 2], [2, 2]),
      ShapeError,
      /slice: got f32\[2, 3\] at \[0, 2\]/,
    ],
    ["no permutation", ({ x }) => transpose(x, [0, 0]), ShapeError, /transpose: got f32\[2, 3\]/],
    ["an axis out of range", ({ x }) => sum(x, { axes: [2] }), ShapeError, /sum: axis 2 of f32\[2, 3\]/],
    [
      "unlike parts of a concat",
      ({ x, w }) => concat([x, w], 0),
      ShapeError,
      /concat: got f32\[2, 3\], f32\[4, 5\]/,
    ],
    ["indices of floats", ({ x }) => takeRows(x, x), DtypeError, /takeRows indices: got f32/],
    ["rows of a vector", ({ n }) => takeRows(n, n), ShapeError, /takeRows: got a table i32\[3\]/],
    [
      "a residual of another shape",
      ({ x, w }) => rmsNorm(x, { residual: w }),
      ShapeError,
      /rmsNorm: got f32\[4, 5\]; expected shape \[2, 3\]/,
    ],
    ["an odd gate", ({ x }) => swiglu(x), ShapeError, /swiglu: got f32\[2, 3\]/],
    [
      "heads that do not divide",
      ({ x }) => attention(reshape(x, [1, 1, 6]), { heads: 4 }),
      ShapeError,
      /attention: got f32\[1, 1, 6\].*H = 4/,
    ],
    [
      "rotary tables of another length",
      ({ x }) => rope(reshape(x, [1, 1, 6]), x, x, { heads: 1 }),
      ShapeError,
      /rope table: got f32\[2, 3\]; expected shape \[1, 2\]/,
    ],
    [
      "labels of another shape",
      ({ x, n }) => crossEntropy(x, n),
      ShapeError,
      /labels: got i32\[3\]; expected shape \[2\]/,
    ],
    ["labels of floats", ({ x }) => crossEntropy(x, constant([1, 2])), DtypeError, /labels: got f32\[2\]/],
    ["a key that is none", ({ x }) => randomBits(x, [2], 0), DtypeError, /randomBits key: got f32/],
    [
      "constants of another size",
      () => constant([1, 2, 3], [2, 2]),
      UsageError,
      /constant: got Float32Array\(3\); expected 4/,
    ],
    ["a dimension of 0", ({ x }) => slice(x, [0, 0], [0, 3]), ShapeError, /slice/],
    ["no tensor at all", ({ x }) => add(x, undefined as unknown as Tensor), UsageError, /got undefined/],
  ];
  for (const [what, body, type, message] of mistakes) {
    it(what, async () => {
      const device = await testDevice();
      const made = device.stats.buffersCreated;
      assert.throws(() => void compile(device, inputs, (t) => ({ y: body(t) as Tensor })), type, message);
      assert.equal(device.stats.buffersCreated, made);
    });
  }

  it("are assignments of another shape or dtype, and those outside of a trace", async () => {
    const w = await vector("w", 1, 2);
    const device = await testDevice();
    assert.throws(
      () => void compile(device, {}, () => assign(w, constant([1]))),
      ShapeError,
      /assign\(w\): got f32\[1\]; expected shape \[2\]/,
    );
    assert.throws(
      () => void compile(device, {}, () => assign(w, less(w, 0))),
      DtypeError,
      /assign\(w\): got i32\[2\]/,
    );
    assert.throws(() => assign(w, 1), UsageError, /inside compile\(\)/);
    w.destroy();
  });

  it("are a trace inside a trace, an async function, and a function without results", async () => {
    const device = await testDevice();
    const tiny = { capabilities: baselineCapabilities };
    assert.throws(
      () => void compile(device, {}, () => void plan(tiny, {}, () => ({ y: scalar(1) }))),
      UsageError,
      /inside another/,
    );
    assert.throws(
      () => void compile(device, {}, (() => Promise.resolve({ y: scalar(1) })) as never),
      UsageError,
      /async/,
    );
    assert.throws(() => void compile(device, {}, () => undefined), UsageError, /returns no tensor/);
    // A trace that failed leaves nothing behind.
    assert.deepEqual([...(await read(device, scalar(1)))], [1]);
  });

  it("are tensors of another program", async () => {
    const device = await testDevice();
    let stolen: Tensor | undefined;
    plan(device.target, { x: f32(2) }, ({ x }) => ({ y: (stolen = square(x)) }));
    assert.throws(
      () => void compile(device, {}, () => ({ y: neg(stolen!) })),
      UsageError,
      /input f32\[2\] "x" of another program/,
    );
  });

  it("are tensors that the device cannot bind or hold", async () => {
    const device = await testDevice();
    const small = { capabilities: { ...baselineCapabilities, maxStorageBufferBindingSize: 1024 } };
    assert.throws(
      () => plan(small, { x: f32(32, 32) }, ({ x }) => ({ y: matmul(x, x) })),
      LimitError,
      /matmul\(f32\[32, 32\], f32\[32, 32\]\).*4096 bytes.*1024 bytes/,
    );
    assert.throws(
      () => plan(small, { x: f32(32, 32) }, ({ x }) => ({ y: sub(exp(x), 1) })),
      LimitError,
      /f32\[32, 32\].*4096 bytes/,
    );
    const huge = device.gpu.limits.maxBufferSize / 4 + 4;
    assert.throws(() => variable(device, f32(huge), "huge"), LimitError, /huge: got \d+ bytes/);
    assert.throws(
      () => void compile(device, { x: f32(huge) }, () => ({ y: scalar(1) })),
      LimitError,
      /program: needs a buffer of \d+ bytes; this device allows/,
    );
  });
});
