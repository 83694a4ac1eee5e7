import { assert } from "chai";
import {
  add,
  cast,
  compile,
  constant,
  exp,
  f32,
  matmul,
  mul,
  neg,
  plan,
  position,
  reshape,
  scale,
  sigmoid,
  square,
  sub,
  sum,
  transpose,
  hostTensor,
  variable,
  assign,
  type InputSpecs,
  type Plan,
  type ProgramBody,
} from "../../engine/index.js";
import { baselineCapabilities } from "../../kernels/capabilities.js";
import { testDevice } from "../support/device.js";
import { checkRandomProgram } from "../support/graphs.js";
import { assertSound, peakOfLifetimes } from "../support/plans.js";
import { assertClose, random } from "../support/random.js";

function planOf<I extends InputSpecs>(inputs: I, body: ProgramBody<I>, software = false): Plan {
  return plan({ capabilities: { ...baselineCapabilities, software } }, inputs, body);
}

const kernels = ({ dispatches }: Plan): number => dispatches.length;

describe("fusion", () => {
  it("fuses a chain into one dispatch", () => {
    const p = planOf({ x: f32(8, 4), y: f32(4) }, ({ x, y }) => ({
      z: sigmoid(neg(exp(scale(add(x, y), 2)))),
    }));
    assert.equal(kernels(p), 1);
    assert.equal(p.bytes.intermediates, 0);
  });

  it("computes a value with two elementwise consumers once, in one dispatch", () => {
    const p = planOf({ x: f32(8) }, ({ x }) => {
      const t = exp(x);
      return { a: add(t, 1), b: mul(t, 2) };
    });
    assert.equal(kernels(p), 1);
    assert.equal(p.dispatches[0]!.kernel.code.match(/exp\(/g)!.length, 1);
  });

  it("goes through views of one shape and stops at other shapes", () => {
    const through = planOf({ x: f32(2, 6) }, ({ x }) => ({ y: exp(reshape(neg(x), [2, 6])) }));
    assert.equal(kernels(through), 1);
    const stops = planOf({ x: f32(2, 6) }, ({ x }) => ({ y: exp(reshape(neg(x), [3, 4])) }));
    assert.equal(kernels(stops), 2);
  });

  it("repeats a value that broadcasts to few elements, if nothing else needs it", async () => {
    const shapes = { x: f32(4, 1), y: f32(4, 4), z: f32(4) };
    const repeated = planOf(shapes, ({ x, y, z }) => ({ r: mul(add(exp(neg(x)), y), sigmoid(z)) }));
    assert.equal(kernels(repeated), 1);
    const bodies: Record<string, ProgramBody<typeof shapes>> = {
      "an output": ({ x, y }) => {
        const e = exp(x);
        return { e, r: add(e, y) };
      },
      "needed elsewhere": ({ x, y }) => {
        const e = exp(x);
        return { r: add(e, y), s: matmul(y, e) };
      },
      "also read through a view": ({ z }) => {
        const e = exp(z);
        return { r: sub(reshape(e, [4, 1]), e) };
      },
      "a position": ({ y }) => ({ r: add(cast(position([4]), "f32"), y) }),
    };
    for (const [what, body] of Object.entries(bodies)) assert.isAbove(kernels(planOf(shapes, body)), 1, what);
    const many = planOf({ x: f32(65, 1), y: f32(65, 64) }, ({ x, y }) => ({ r: add(exp(x), y) }));
    assert.equal(kernels(many), 2);

    const data = { x: random(4), y: random(16), z: random(4) };
    const program = await compile(await testDevice(), shapes, ({ x, y, z }) => ({
      r: mul(add(exp(neg(x)), y), sigmoid(z)),
      s: sub(reshape(exp(z), [4, 1]), exp(z)),
    }));
    await program.run(data);
    const [r, s] = [await program.read("r"), await program.read("s")];
    program.destroy();
    const at = (i: number) => [data.x[i >> 2]!, data.y[i]!, data.z[i >> 2]!, data.z[i & 3]!] as const;
    const expected = (of: (...values: readonly number[]) => number) =>
      Array.from({ length: 16 }, (_, i) => of(...at(i)));
    assertClose(
      r,
      expected((x, y, _, z) => (Math.exp(-x) + y) / (1 + Math.exp(-z))),
      () => 1e-5,
      "r",
    );
    assertClose(
      s,
      expected((_x, _y, row, column) => Math.exp(row) - Math.exp(column)),
      () => 1e-5,
      "s",
    );
  });

  it("does not merge operations that would have to run before and after another", () => {
    const p = planOf({ x: f32(4, 4) }, ({ x }) => {
      const a = exp(x);
      return { y: mul(a, matmul(a, a)) };
    });
    assert.equal(kernels(p), 3);
    assertSound(p);
  });

  it("adds a residual in the matmul, unless the product has other readers or the adapter is software", async () => {
    const added: ProgramBody<{ x: ReturnType<typeof f32>; r: ReturnType<typeof f32> }> = ({ x, r }) => ({
      y: add(r, reshape(matmul(x, x), [16])),
    });
    const residual = planOf({ x: f32(4, 4), r: f32(16) }, added);
    assert.equal(kernels(residual), 1);
    assertSound(residual);
    const apart = planOf({ x: f32(4, 4), r: f32(16) }, added, true);
    assert.equal(kernels(apart), 2);
    assertSound(apart);
    const wanted = planOf({ x: f32(4, 4), r: f32(4, 4) }, ({ x, r }) => {
      const product = matmul(x, x);
      return { y: add(product, r), z: neg(product) };
    });
    assert.isTrue(wanted.dispatches.every(({ kernel }) => !kernel.name.includes("residual")));
    const kept = planOf({ x: f32(4, 4), r: f32(4, 4) }, ({ x, r }) => {
      const product = matmul(x, x);
      return { y: add(product, r), product };
    });
    assert.equal(kernels(kept), 2);

    const [x, r] = [random(16), random(16)];
    const program = await compile(await testDevice(), { x: f32(4, 4), r: f32(4, 4) }, (inputs) => ({
      twice: add(matmul(inputs.x, inputs.r), matmul(inputs.r, inputs.x)),
      plain: add(inputs.r, matmul(inputs.x, inputs.x)),
    }));
    await program.run({ x, r });
    const product = (a: Float32Array, b: Float32Array, i: number): number =>
      [0, 1, 2, 3].reduce((total, k) => total + a[(i & ~3) + k]! * b[4 * k + (i & 3)]!, 0);
    // Sums of up to 8 products below 1 in f32.
    assertClose(
      await program.read("twice"),
      x.map((_, i) => product(x, r, i) + product(r, x, i)),
      8e-6,
      "x r + r x",
    );
    assertClose(
      await program.read("plain"),
      x.map((_, i) => r[i]! + product(x, x, i)),
      8e-6,
      "r + x x",
    );
    program.destroy();
  });

  it("keeps within the device's storage buffers", () => {
    const names = Array.from({ length: 20 }, (_, i) => `x${i}`);
    const p = planOf(Object.fromEntries(names.map((n) => [n, f32(4)])), (inputs) => ({
      y: names.map((n) => inputs[n]!).reduce((a, b) => add(a, b)),
    }));
    for (const { kernel } of p.dispatches)
      assert.isAtMost(kernel.bindings.length, baselineCapabilities.maxStorageBuffersPerShaderStage);
    assert.isAtLeast(kernels(p), 3);
  });

  it("drops unused operations", () => {
    const p = planOf({ x: f32(4, 4) }, ({ x }) => {
      matmul(x, x);
      return { y: neg(x) };
    });
    assert.equal(kernels(p), 1);
  });

  it("computes the softmax of a row as NumPy would, whatever is fused", async () => {
    const device = await testDevice();
    const x = random(12);
    const step = await compile(device, { x: f32(3, 4) }, ({ x }) => {
      const e = exp(x);
      return { y: mul(e, exp(neg(exp(scale(sum(e, { axes: [1], keepDims: true }), 0.1))))) };
    });
    await step.run({ x });
    const e = Float64Array.from(x, Math.exp);
    const row = (i: number): number => e.slice(i - (i % 4), i - (i % 4) + 4).reduce((a, b) => a + b, 0);
    assertClose(
      await step.read("y"),
      e.map((v, i) => v * Math.exp(-Math.exp(0.1 * row(i)))),
      // Four rounded operations on values below 3, and exp of rounded arguments below 3.
      1e-5,
      "y",
    );
    step.destroy();
  });
});

describe("the memory plan", () => {
  it("shares slots along a chain of matrix products", () => {
    const p = planOf({ x: f32(16, 16) }, ({ x }) => {
      let y = x;
      for (let i = 0; i < 10; i++) y = matmul(y, x);
      return { y };
    });
    assertSound(p);
    assert.equal(p.memory.slots.length, 2);
    assert.equal(p.bytes.intermediates, 2 * 4 * 256);
  });

  it("keeps an early value while it is needed", () => {
    const p = planOf({ x: f32(8, 8) }, ({ x }) => {
      const early = matmul(x, x);
      let y = early;
      for (let i = 0; i < 5; i++) y = matmul(y, x);
      return { y: matmul(y, early) };
    });
    assertSound(p);
    assert.equal(p.bytes.intermediates, peakOfLifetimes(p));
  });

  it("writes results into outputs and variables, not through intermediates", async () => {
    const device = await testDevice();
    const w = variable(device, hostTensor(random(16), [4, 4]), "w");
    const p = planOf({ x: f32(4, 4) }, ({ x }) => {
      const y = matmul(x, w);
      assign(w, sub(w, y));
      return { y, z: transpose(y) };
    });
    assert.equal(p.bytes.intermediates, 0);
    assert.equal(kernels(p), 3);
    w.destroy();
  });

  it("counts the bytes that compiling allocates", async () => {
    const device = await testDevice();
    const before = device.stats.bytesLive;
    const step = await compile(device, { x: f32(5, 3), unused: f32(7) }, ({ x }) => {
      const y = matmul(matmul(x, constant(random(9), [3, 3])), constant(random(6), [3, 2]));
      return { y, s: sum(square(y)) };
    });
    const { intermediates, inputs, outputs, constants } = step.plan.bytes;
    assert.equal(device.stats.bytesLive - before, intermediates + inputs + outputs + constants);
    assert.equal(inputs, 64 + 32);
    assert.equal(constants, 48 + 32);
    step.destroy();
    assert.equal(device.stats.bytesLive, before);
  });
});

describe("random programs", () => {
  for (const length of [6, 15, 40]) {
    it(`of ${length} steps agree with one operation at a time`, async () => {
      const device = await testDevice();
      const before = device.stats.bytesLive;
      for (let i = 0; i < 6; i++) assertSound((await checkRandomProgram(device, length, 2)).plan);
      assert.equal(device.stats.bytesLive, before, "bytes left behind");
    });
  }
});

describe("the graph of a program", () => {
  it("is printed as it was traced and as it was fused", async () => {
    const device = await testDevice();
    const w = variable(device, hostTensor(Float32Array.of(1, 2), [2, 1]), "w");
    const program = await compile(
      device,
      { x: f32(3, 2) },
      ({ x }) => ({ y: exp(reshape(matmul(x, w), [3])), z: scale(sum(x), 2) }),
      { name: "small" },
    );
    const lines = program.graph().split("\n");
    const at = (pattern: RegExp): number => lines.findIndex((line) => pattern.test(line));
    assert.equal(lines[0], "traced: 9 nodes");
    assert.match(lines[at(/input x/)]!, /^ {2}%\d+ = input x$/);
    const [, x] = /%(\d+) = input x/.exec(program.graph())!;
    const [, weight] = /%(\d+) = variable f32\[2, 1\]/.exec(program.graph())!;
    assert.isAbove(at(new RegExp(`%\\d+ = matmul\\(%${x}, %${weight}\\) -> f32\\[3, 1\\]$`)), 0);
    // Views and leaves are traced and not run: each other node is in one unit.
    const fused = lines.slice(at(/^fused: /));
    assert.equal(fused[0], `fused: ${program.plan.graph.fused.length} units`);
    assert.lengthOf(
      fused.filter((line) => line === ""),
      program.plan.graph.fused.length - 1,
    );
    const run = fused.filter((line) => /^ {2}%/.test(line));
    assert.isEmpty(run.filter((line) => /reshape|variable|input|literal/.test(line)));
    assert.lengthOf(run, new Set(run).size);
    for (const name of ["matmul", "exp", "sum", "mul"])
      assert.lengthOf(
        run.filter((line) => line.includes(` = ${name}(`)),
        1,
        name,
      );
    program.destroy();
    w.destroy();
  });
});
