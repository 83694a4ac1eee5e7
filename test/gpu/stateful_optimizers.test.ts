/** Optimizers that keep their own state, against their formulas in float64, and clipping by the global norm. */
import { assert } from "chai";
import { compile, f32, hostTensor, UsageError, variable, type Variable } from "../../engine/index.js";
import { adam, adamAtan2, adamW, clipByGlobalNorm, sgd, type Optimizer } from "../../engine/optimizers.js";
import { muon } from "../../engine/muon.js";
import { testDevice } from "../support/device.js";
import { random } from "../support/random.js";
import { thrown } from "../support/rejection.js";

const N = 5;
const STEPS = 12;

/** A rule's update of one number: value, gradient, step (from 1) and memory of its own. */
type Rule = (p: number, g: number, t: number, memory: { m: number; v: number }) => number;

const moments = (g: number, t: number, memory: { m: number; v: number }): [number, number] => {
  memory.m = 0.9 * memory.m + 0.1 * g;
  memory.v = 0.999 * memory.v + 0.001 * g * g;
  return [memory.m / (1 - 0.9 ** t), memory.v / (1 - 0.999 ** t)];
};

const RULES: Record<string, [(parameters: Variable[]) => Optimizer, Rule]> = {
  sgd: [(p) => sgd(p, { learningRate: 0.1 }), (p, g) => p - 0.1 * g],
  "sgd with momentum and decay": [
    (p) => sgd(p, { learningRate: 0.1, momentum: 0.8, weightDecay: 0.01 }),
    (p, g, _, memory) => p - 0.1 * (memory.v = 0.8 * memory.v + g + 0.01 * p),
  ],
  "sgd with Nesterov's momentum": [
    (p) => sgd(p, { learningRate: 0.1, momentum: 0.8, nesterov: true }),
    (p, g, _, memory) => p - 0.1 * (g + 0.8 * (memory.v = 0.8 * memory.v + g)),
  ],
  adam: [
    (p) => adam(p, { learningRate: 0.1 }),
    (p, g, t, memory) => {
      const [m, v] = moments(g, t, memory);
      return p - (0.1 * m) / (Math.sqrt(v) + 1e-8);
    },
  ],
  adamW: [
    (p) => adamW(p, { learningRate: 0.1 }),
    (p, g, t, memory) => {
      const [m, v] = moments(g, t, memory);
      return p - 0.1 * 0.01 * p - (0.1 * m) / (Math.sqrt(v) + 1e-8);
    },
  ],
  adamAtan2: [
    (p) => adamAtan2(p, { learningRate: 0.1 }),
    (p, g, t, memory) => {
      const [, v] = moments(g, t, memory);
      // The correction of the mean stands outside of atan2, as in the package adam-atan2.
      return p - (0.1 / (1 - 0.9 ** t)) * Math.atan2(memory.m, Math.sqrt(v));
    },
  ],
};

/** x (x^T x)^(-1/2), nearly, by Muon's five iterations in float64, whichever side is the longer. */
function orthogonal(x: readonly number[], rows: number, columns: number): number[] {
  const norm = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0)) + 1e-7;
  let y = x.map((v) => v / norm);
  const product = (a: number[], b: number[], m: number, k: number, n: number): number[] =>
    Array.from({ length: m * n }, (_, at) => {
      let sum = 0;
      for (let j = 0; j < k; j++) sum += a[Math.floor(at / n) * k + j]! * b[j * n + (at % n)]!;
      return sum;
    });
  for (let t = 0; t < 5; t++) {
    const turned = Array.from(
      { length: y.length },
      (_, at) => y[(at % rows) * columns + Math.floor(at / rows)]!,
    );
    const s = product(y, turned, rows, columns, rows);
    const squared = product(s, s, rows, rows, rows);
    const polynomial = s.map((v, k) => -4.775 * v + 2.0315 * squared[k]!);
    const next = product(polynomial, y, rows, rows, columns);
    y = y.map((v, k) => 3.4445 * v + next[k]!);
  }
  return y;
}

describe("optimizers with their own state", () => {
  for (const [name, [make, rule]] of Object.entries(RULES))
    it(`${name} follows its formula over ${STEPS} steps, for every parameter`, async () => {
      const device = await testDevice();
      const start = [random(N), random(2 * N)];
      const parameters = start.map((data, i) => variable(device, hostTensor(data, [data.length]), `p${i}`));
      const optimizer = make(parameters);
      const step = await compile(device, { g0: f32(N), g1: f32(2 * N) }, ({ g0, g1 }) => {
        optimizer.step([g0, g1]);
      });
      const expected = start.map((data) => [...data].map((p) => ({ p, memory: { m: 0, v: 0 } })));
      for (let t = 1; t <= STEPS; t++) {
        const [g0, g1] = [random(N), random(2 * N)];
        await step.run({ g0, g1 });
        [g0, g1].forEach((g, i) =>
          expected[i]!.forEach((one, k) => (one.p = rule(one.p, g[k]!, t, one.memory))),
        );
      }
      for (const [i, parameter] of parameters.entries())
        (await parameter.read()).forEach((value, k) =>
          // Rounding of each step, of about 8 operations on numbers below 2; atan2 has a wider bound of its own.
          assert.closeTo(value, expected[i]![k]!.p, STEPS * 16 * 2 ** -23, `parameter ${i}, element ${k}`),
        );
      step.destroy();
      optimizer.destroy();
      for (const p of parameters) p.destroy();
    });

  it("muon follows its formula on matrices of either orientation, and refuses vectors", async () => {
    const device = await testDevice();
    const shapes = [
      [4, 6],
      [7, 3],
    ] as const;
    const start = shapes.map(([rows, columns]) => random(rows * columns));
    const parameters = shapes.map((shape, i) => variable(device, hostTensor(start[i]!, shape), `p${i}`));
    const optimizer = muon(parameters, { learningRate: 0.1, momentum: 0.9, weightDecay: 0.1 });
    const step = await compile(device, { g0: f32(4, 6), g1: f32(7, 3) }, ({ g0, g1 }) =>
      optimizer.step([g0, g1]),
    );
    const expected = start.map((data) => [...data]);
    const means = start.map((data) => [...data].fill(0));
    for (let t = 0; t < 3; t++) {
      const [g0, g1] = [random(24), random(21)];
      await step.run({ g0, g1 });
      for (const [i, g] of [g0, g1].entries()) {
        const [rows, columns] = shapes[i]!;
        const update = means[i]!.map((mean, k) => {
          means[i]![k] = 0.9 * mean + 0.1 * g[k]!;
          return 0.1 * g[k]! + 0.9 * means[i]![k];
        });
        const scale = 0.1 * Math.sqrt(Math.max(1, rows / columns));
        orthogonal(update, rows, columns).forEach((move, k) => {
          expected[i]![k] = expected[i]![k]! * (1 - 0.1 * 0.1) - scale * move;
        });
      }
    }
    for (const [i, p] of parameters.entries())
      // Five iterations, each of which may enlarge an error by the coefficient 3.4, then three steps of 0.1.
      (await p.read()).forEach((value, k) =>
        assert.closeTo(value, expected[i]![k]!, 3.4 ** 5 * 2 ** -22, `${i}: ${k}`),
      );
    const vector = variable(device, f32(3), "b");
    assert.match(thrown(() => muon([vector], { learningRate: 1 })).message, /parameter b of shape \[3\]/);
    for (const owned of [step, optimizer, vector, ...parameters]) owned.destroy();
  });

  it("take a learning rate that the host changes, and can be saved and restored", async () => {
    const device = await testDevice();
    const rate = variable(device, hostTensor(Float32Array.of(0.5), [1]), "rate");
    const p = variable(device, hostTensor(Float32Array.of(1), [1]), "p");
    const optimizer = adam([p], { learningRate: rate });
    const step = await compile(device, { g: f32(1) }, ({ g }) => {
      optimizer.step([g]);
    });
    const g = Float32Array.of(2);
    await step.run({ g });
    rate.write(Float32Array.of(0));
    const before = await p.read();
    await step.run({ g });
    assert.deepEqual(await p.read(), before);
    rate.write(Float32Array.of(0.5));
    const saved = await Promise.all([p, ...optimizer.state].map((v) => v.read()));
    await step.run({ g });
    const after = await p.read();
    [p, ...optimizer.state].forEach((v, i) => v.write(saved[i]!));
    await step.run({ g });
    assert.deepEqual(await p.read(), after);
    step.destroy();
    for (const owned of [optimizer, p, rate]) owned.destroy();
  });

  it("clip gradients to a global norm, and leave smaller ones and zeros as they are", async () => {
    const device = await testDevice();
    const program = await compile(device, { a: f32(2), b: f32(1) }, ({ a, b }) => {
      const { gradients, norm } = clipByGlobalNorm([a, b], 2);
      return { a: gradients[0]!, b: gradients[1]!, norm };
    });
    const clip = async (a: number[], b: number): Promise<number[]> => {
      const outputs = await program.call({ a: Float32Array.from(a), b: Float32Array.of(b) });
      return [...outputs.a, ...outputs.b, ...outputs.norm];
    };
    assert.deepEqual(await clip([2, 1], 2), [4 / 3, 2 / 3, 4 / 3, 3].map(Math.fround));
    const small = [0.5, -0.25, 1].map(Math.fround);
    assert.deepEqual((await clip(small.slice(0, 2), small[2]!)).slice(0, 3), small);
    assert.deepEqual(await clip([0, 0], 0), [0, 0, 0, 0]);
    program.destroy();
  });

  it("refuse parameters and gradients that do not fit", async () => {
    const device = await testDevice();
    const p = variable(device, f32(2), "p");
    assert.throws(() => adam([], { learningRate: 1 }), UsageError, /got 0 parameters/);
    const optimizer = sgd([p], { learningRate: 1 });
    const wrong = thrown(() => void compile(device, {}, () => optimizer.step([])));
    assert.match(wrong.message, /sgd: got 0 gradients; expected 1/);
    p.destroy();
  });
});
