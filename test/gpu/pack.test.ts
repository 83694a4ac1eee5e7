import { assert } from "chai";
import {
  add,
  assign,
  compile,
  constant,
  f32,
  matmul,
  plan,
  read,
  reshape,
  scale,
  sigmoid,
  sum,
  transpose,
  variable,
  type HostTensor,
  type Tensor,
  type Variable,
} from "../../engine/index.js";
import { packLayouts } from "../../engine/ops/pack.js";
import { adamAtan2Step, adamWStep, pack, packedVariables, type AdamState } from "../../engine/optimizers.js";
import { testDevice } from "../support/device.js";
import { assertExact } from "../support/kernels.js";
import { assertSound } from "../support/plans.js";
import { random } from "../support/random.js";

/** A lone number, no multiple of four, a whole stretch between offsets, and one that straddles it. */
const SIZES = [1, 7, 128, 260];

const initials = (sizes: readonly number[] = SIZES): Map<string, HostTensor> =>
  new Map(sizes.map((n, i) => [`v${i}`, { data: random(n), shape: [n], dtype: "f32" }]));

const floats = async (v: Variable): Promise<Float32Array> => (await v.read()) as Float32Array;

/** The members of the one pack that these tensors become. */
function membersOf(whole: Float32Array, tensors: readonly Tensor[]): Float32Array[] {
  const { firsts } = packLayouts(tensors, (t) => t.size)[0]!;
  return tensors.map((t, i) => whole.slice(firsts[i], firsts[i]! + t.size));
}

describe("packs", () => {
  it("hold tensors one after the other at multiples of 256 bytes, up to the binding limit", () => {
    const layouts = packLayouts([1, 128, 129, 2 ** 25 - 256, 2 ** 25 + 1, 5], (n) => n);
    assert.deepEqual(layouts, [
      { members: [1, 128, 129], firsts: [0, 128, 256], size: 512 },
      { members: [2 ** 25 - 256], firsts: [0], size: 2 ** 25 - 256 },
      { members: [2 ** 25 + 1], firsts: [0], size: 2 ** 25 + 128 },
      { members: [5], firsts: [0], size: 128 },
    ]);
  });

  it("of variables are written and read one by one, and are freed with the last member", async () => {
    const device = await testDevice();
    const before = device.stats.bytesLive;
    const values = initials();
    const variables = packedVariables(device, values, "pack");
    assert.lengthOf(new Set(variables.map((v) => v.pack)), 1);
    for (const v of variables) assertExact(await floats(v), values.get(v.name)!.data, v.name);
    const fresh = random(7);
    variables[1]!.write(fresh);
    for (const v of variables)
      assertExact(await floats(v), v === variables[1] ? fresh : values.get(v.name)!.data, v.name);
    assertExact(
      await read(device, scale(variables[3]!, 2)),
      (values.get("v3")!.data as Float32Array).map((x) => 2 * x),
      "read by a kernel",
    );
    variables.slice(1).forEach((v) => v.destroy());
    assert.isAbove(device.stats.bytesLive, before);
    variables[0]!.requireAlive();
    variables[0]!.destroy();
    assert.equal(device.stats.bytesLive, before);
    assert.throws(() => variables[0]!.requireAlive(), /v0 was destroyed/);
  });

  it("are computed in place, and copied only if a dispatch would bind the buffer twice", async () => {
    const device = await testDevice();
    const [x, y] = [random(24), random(20)];
    const cases: Record<string, { build: (a: Tensor, b: Tensor) => Tensor[]; copies: number }> = {
      apart: { build: (a, b) => [matmul(a, transpose(b)), sigmoid(a), matmul(b, transpose(a))], copies: 0 },
      "views of what is computed": { build: (a, b) => [reshape(sigmoid(a), [24]), sigmoid(b)], copies: 0 },
      "an input and a constant": { build: (a) => [a, constant([1, 2, 3]), sigmoid(a)], copies: 2 },
      "one tensor twice": {
        build: (a, b) => {
          const c = matmul(a, transpose(b));
          return [c, sigmoid(b), c];
        },
        copies: 2,
      },
      "a member made of another": {
        build: (a, b) => {
          const c = matmul(a, transpose(b));
          return [c, matmul(c, b), sigmoid(a)];
        },
        copies: 1,
      },
      "a member made of a later one": {
        build: (a, b) => {
          const c = matmul(a, transpose(b));
          return [matmul(c, b), c, sigmoid(a)];
        },
        copies: 1,
      },
      "two made by one kernel": {
        build: (a) => {
          const c = sigmoid(a);
          return [c, add(c, 1)];
        },
        copies: 1,
      },
    };
    for (const [name, { build, copies }] of Object.entries(cases)) {
      let members: Tensor[] = [];
      const program = await compile(
        device,
        { a: f32(6, 4), b: f32(5, 4) },
        ({ a, b }): Record<string, Tensor> => {
          members = build(a, b);
          const alone = Object.fromEntries(members.map((t, i) => [`m${i}`, scale(t, 1)]));
          return { whole: scale(pack(members)[0]!.tensor, 1), ...alone };
        },
      );
      assertSound(program.plan);
      await program.run({ a: x, b: y });
      const found = membersOf((await program.read("whole")) as Float32Array, members);
      for (const [i, member] of found.entries())
        assertExact(member, await program.read(`m${i}`), `${name}: member ${i}`);
      const copied = program.plan.dispatches.filter(({ label }) => label.startsWith("pack(")).length;
      assert.equal(copied, copies, name);
      program.destroy();
    }
  });

  it("refuse an assignment to a member, a read after the pack was assigned, and a destroyed member", async () => {
    const device = await testDevice();
    const variables = packedVariables(device, initials(), "pack");
    const [first] = variables as [Variable];
    const whole = first.pack!;
    assert.throws(
      () => plan(device.target, {}, () => assign(first, add(first, 1))),
      /assign\(v0\): the variable is part of pack/,
    );
    const late = (): void => {
      assign(whole, add(whole, 1));
      assign(variable(device, { shape: [1], dtype: "f32" }, "other"), first);
    };
    assert.throws(() => plan(device.target, {}, late), /v0: it is read after its pack pack was assigned/);
    const program = await compile(device, {}, () => ({ x: scale(first, 2) }));
    const integers = new Map(
      [...initials([1, 2])].map(([name, { shape }]) => [name, { shape, dtype: "i32" as const }]),
    );
    assert.throws(() => packedVariables(device, integers, "pack"), /pack: v0: got i32\[1\]; expected f32/);
    for (const v of variables) v.destroy();
    assert.throws(() => program.requireRunnable(), /v0 was destroyed/);
    program.destroy();
  });

  it("keep the values of members that were read before the pack was assigned", async () => {
    const device = await testDevice();
    const values = initials();
    const variables = packedVariables(device, values, "pack");
    const [first] = variables as [Variable];
    const program = await compile(device, {}, () => {
      const old = scale(variables[1]!, 2);
      assign(first.pack!, add(first.pack!, 1));
      return { old };
    });
    assertSound(program.plan);
    await program.run();
    assertExact(
      await program.read("old"),
      (values.get("v1")!.data as Float32Array).map((x) => 2 * x),
      "read before",
    );
    for (const v of variables)
      assertExact(
        await floats(v),
        (values.get(v.name)!.data as Float32Array).map((x) => x + 1),
        v.name,
      );
    program.destroy();
    for (const v of variables) v.destroy();
  });
});

describe("optimizers over packs", () => {
  for (const [rule, ema] of [
    ["adamAtan2", true],
    ["adamW", false],
  ] as const)
    it(`${rule} updates all parameters in one dispatch, with the same bits as one by one`, async () => {
      const device = await testDevice();
      const [p, m, v, e] = [initials(), initials(), initials(), initials()];
      for (const { data } of v.values()) data.forEach((x, i) => (data[i] = Math.abs(x)));
      const hyper = constant([0.01, 1.5, 1.25, 0.9]);
      const inputs = Object.fromEntries([...p].map(([name, { shape }]) => [name, f32(...shape)]));
      const gradients = Object.fromEntries([...p].map(([name, { shape }]) => [name, random(shape[0]!)]));
      const train = async (make: (values: Map<string, HostTensor>, name: string) => Variable[]) => {
        const [ps, ms, vs, es] = [make(p, "p"), make(m, "m"), make(v, "v"), make(e, "e")];
        const states = ps.map((parameter, i): AdamState => ({
          parameter,
          expAvg: ms[i]!,
          expAvgSq: vs[i]!,
          ...(ema && { ema: es[i]! }),
        }));
        const program = await compile(device, inputs, (g) => {
          // What reads parameters and gradients before must see the old ones.
          const before = ps.map((parameter, i) => sum(add(parameter, g[parameter.name]!)) && g[`v${i}`]!);
          const doubled = before.map((t) => scale(t, 2));
          const options = { beta1: 0.9, beta2: 0.95, weightDecay: 0.1 };
          if (rule === "adamW") adamWStep(states, doubled, hyper, { ...options, epsilon: 1e-8 });
          else adamAtan2Step(states, doubled, hyper, options);
        });
        assertSound(program.plan);
        await program.run(gradients);
        await program.run(gradients);
        const kernels = program.plan.dispatches.filter(({ kernel }) => kernel.name.startsWith("adam")).length;
        const after = await Promise.all([...ps, ...ms, ...vs, ...(ema ? es : [])].map(floats));
        program.destroy();
        for (const one of [...ps, ...ms, ...vs, ...es]) one.destroy();
        return { kernels, after };
      };
      const apart = await train((values) => [...values].map(([name, t]) => variable(device, t, name)));
      const packed = await train((values, name) => packedVariables(device, values, name));
      assert.deepEqual([apart.kernels, packed.kernels], [SIZES.length, 1]);
      packed.after.forEach((x, i) => assertExact(x, apart.after[i]!, `state ${i}`));
    });

  it("refuse part of a pack, and moments that are packed otherwise", async () => {
    const device = await testDevice();
    const [p, m, v] = ["p", "m", "v"].map((name) => packedVariables(device, initials(), name)) as [
      Variable[],
      Variable[],
      Variable[],
    ];
    const plain = [...initials()].map(([name, t]) => variable(device, t, name));
    const options = { beta1: 0.9, beta2: 0.95, weightDecay: 0 };
    const step = (count: number, expAvg: readonly Variable[]) => () =>
      plan(device.target, {}, () => {
        const states = p.map((parameter, i) => ({ parameter, expAvg: expAvg[i]!, expAvgSq: v[i]! }));
        const gradients = p.map((parameter) => scale(parameter, 1));
        adamAtan2Step(states.slice(0, count), gradients.slice(0, count), constant([1, 1, 1, 1]), options);
      });
    assert.throws(step(3, m), /adam: got .* expected .* made by packedVariables/);
    // The right number of elements, but each at the place of another parameter.
    const reversed = packedVariables(device, new Map([...initials([260, 128, 7, 1])]), "reversed").reverse();
    assert.throws(step(4, reversed), /adam: got .* expected .* made by packedVariables/);
    assert.throws(step(4, plain), /adam: got .* expected .* made by packedVariables/);
    assert.throws(
      step(4, [m[0]!, m[1]!, m[2]!, plain[3]!]),
      /adam: got .* expected .* made by packedVariables/,
    );
    for (const one of [...p, ...m, ...v, ...plain, ...reversed]) one.destroy();
  });
});
