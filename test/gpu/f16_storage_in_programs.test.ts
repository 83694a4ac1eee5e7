/** Tensors that programs in mixed precision store in f16. */
import { assert } from "chai";
import { f16Storage } from "../../engine/compiler/f16_storage.js";
import {
  assign,
  attention,
  f32,
  grad,
  linear,
  matmul,
  mean,
  mul,
  plan,
  rmsNorm,
  silu,
  square,
  sub,
  swiglu,
  variable,
  type Allocator,
  type Device,
  type Plan,
  type Target,
} from "../../engine/index.js";
import { defaultTraits, Ledger, targetOf } from "../../engine/planning.js";
import { trainingKernels } from "../../hrm/training/memory_estimate.js";
import { createTrainer, type TrainingSnapshot } from "../../hrm/index.js";
import { prepareTraining } from "../../hrm/training/trainer.js";
import { matrixVariants } from "../../kernels/matmul/subgroup_matrices.js";
import { testDevice } from "../support/device.js";
import { assertSound } from "../support/plans.js";
import { openTestDevice } from "../support/platform.js";
import { inWords } from "../support/f16.js";
import { emulatedByEights, EMULATED_BY_EIGHTS, whereEmulated } from "../support/subgroup_matrices.js";
import { official, randomPuzzles, training } from "../support/tiny.js";

describe("programs with tensors in f16", () => {
  const mixed = {
    name: "test",
    variants: (product: Parameters<typeof matrixVariants>[0]) => matrixVariants(product, EMULATED_BY_EIGHTS),
  };
  /** Capabilities of a GPU to which everything applies. */
  const traits = {
    ...defaultTraits,
    features: new Set(["subgroups"]),
    adapterInfo: { ...defaultTraits.adapterInfo, subgroupMinSize: 32, subgroupMaxSize: 32 },
  } as typeof defaultTraits;
  const inMixed = ({ capabilities, ...target }: Target): Target => ({
    ...{ ...target, f16Storage },
    capabilities: { ...capabilities, mixedPrecision: mixed },
  });
  /** A target in mixed precision, and storage for variables. */
  function planner(): { target: Target; device: Ledger } {
    const target = inMixed(targetOf(traits));
    return { target, device: new Ledger(target) };
  }
  /** Kernels with f16 bindings, without their sizes, and these bindings, in the order of the dispatches. */
  const halvesOf = ({ dispatches }: Plan): string[] =>
    dispatches.flatMap(({ kernel }) => {
      const names = kernel.bindings.filter((b) => b.dtype === "f16").map((b) => b.name);
      return names.length > 0 ? [`${kernel.name.split(/_half|_b?\d/)[0]!}: ${names.join(" ")}`] : [];
    });
  const weight = (device: Allocator, ...shape: number[]) =>
    variable(device, { shape, dtype: "f32" }, "weight");

  it("store the activations of a forward pass, and a copy of weights that are read twice", () => {
    const { target, device } = planner();
    const [qkv, o, gateUp, down] = [
      ...[weight(device, 192, 64), weight(device, 64, 64)],
      ...[weight(device, 256, 64), weight(device, 64, 128)],
    ] as const;
    const found = plan(target, { x: f32(2, 8, 64) }, ({ x }) => {
      const h = mul(x, 2);
      const attended = linear(attention(linear(h, qkv), { heads: 2 }), o);
      const normed = rmsNorm(attended, { residual: h });
      const y = rmsNorm(linear(swiglu(linear(normed, gateUp)), down), { residual: normed });
      const weights = [qkv, o, gateUp, down];
      const gradients = grad(mean(square(y)), weights);
      weights.forEach((w, i) => assign(w, sub(w, gradients[i]!)));
    });
    // The input has no gradient, so that qkv is read once.
    assert.deepEqual(halvesOf(found), [
      ...["elementwise_identity: out0", "elementwise_identity: out0", "elementwise_identity: out0"],
      ...["elementwise_mul: out0", "matmul_nt: a c", "attention: qkv o", "matmul_nt: a b c"],
      ...["rms_norm_residual: x residual y", "matmul_nt: a b c", "swiglu: gate_up y", "matmul_nt: a b c"],
      ...["rms_norm_residual: x residual y", "elementwise_identity_mul_mul_add: in1"],
      // Gradients that only matmuls read.
      ...["rms_norm_backward: y", "matmul_nn: b", "matmul_tn: b", "swiglu_backward: gate_up d_gate_up"],
      ...[
        "matmul_tn: a b",
        "matmul_nn_residual: a b",
        "rms_norm_backward: y",
        "matmul_nn: b",
        "matmul_tn: b",
      ],
      ...["attention_delta: o", "attention_backward: qkv d_qkv", "matmul_tn: a b"],
    ]);
    assertSound(found);
  });

  it("count two bytes per element of f16 tensors in dispatches and in memory", () => {
    const body =
      (device: Allocator): Parameters<typeof plan>[2] =>
      ({ x }) => ({ y: mean(rmsNorm(matmul(x!, weight(device, 64, 64)))) });
    const { target, device } = planner();
    const inHalf = plan(target, { x: f32(16, 64) }, body(device));
    const inF32 = plan({ capabilities: target.capabilities }, { x: f32(16, 64) }, body(device));
    const bytes = ({ dispatches }: Plan) => dispatches.map(({ kernel }) => kernel.bytes);
    // The product's result is half as large; the mean reads f32.
    assert.deepEqual(halvesOf(inHalf), ["matmul_nn: c", "rms_norm: x"]);
    assert.deepEqual(
      bytes(inF32).map((b, i) => b - bytes(inHalf)[i]!),
      [
        2048,
        2048,
        ...bytes(inF32)
          .slice(2)
          .map(() => 0),
      ],
    );
    assert.include(inF32.memory.slots, 4096);
    assert.include(inHalf.memory.slots, 2048);
  });

  it("never store in f16: results, gradients with other readers than matmuls, or inputs of f32 operations", () => {
    const { target, device } = planner();
    const [v, w] = [weight(device, 64, 64), weight(device, 64, 64)];
    const found = plan(target, { x: f32(16, 64) }, ({ x }) => {
      const y = matmul(x, w);
      const z = matmul(y, v);
      const g = grad(mean(silu(z)), w);
      const scaled = mul(g, 0.5);
      // A product of gradients, and a sum over a product.
      assign(v, sub(v, matmul(scaled, scaled)));
      return { y, g, rows: mean(matmul(z, w), { axes: [1] }) };
    });
    const written = found.dispatches.flatMap(({ kernel }) =>
      kernel.bindings.filter((b) => b.dtype === "f16" && b.access === "read_write").map(() => kernel.name),
    );
    // A copy of each weight, and z.
    assert.lengthOf(written, 3, written.join());
    for (const name of written.slice(0, 2)) assert.equal(name, "elementwise_identity_4096_half_out0");
    assert.match(written[2]!, /^matmul_nn_half_b_c_16x64x64_/);
  });

  it("store nothing in f16 in f32 precision, or if products are smaller than a matrix", () => {
    const { target } = planner();
    const body: Parameters<typeof plan>[2] = ({ x }) => ({ y: mean(rmsNorm(matmul(mul(x!, 2), x!))) });
    assert.isNotEmpty(halvesOf(plan(target, { x: f32(8, 8) }, body)));
    assert.deepEqual(halvesOf(plan(target, { x: f32(3, 3) }, body)), []);
    assert.deepEqual(halvesOf(plan(targetOf(traits), { x: f32(8, 8) }, body)), []);
  });

  const config = { ...official, hidden_size: 32, num_heads: 2, batch_size: 4, swiglu_multiple: 32 };
  const data = randomPuzzles(64, config, 3);

  it("store the activations and weights of every level of a training step", () => {
    const { target, device } = planner();
    // Heads of 32 numbers, so that attention turns them by itself.
    const wide = { ...config, hidden_size: 64 };
    const { programs } = prepareTraining({ device, config: wide, train: training, data, seed: 5 });
    const stepPlan = plan(target, {}, programs[0]!.body);
    const counts: Record<string, number> = {};
    for (const name of halvesOf(stepPlan)) counts[name] = (counts[name] ?? 0) + 1;
    // 12 level passes of a layer in two segments, of which 2 are differentiated.
    assert.deepEqual(counts, {
      // All weights, which share a buffer.
      ...{ "elementwise_identity: out0": 1 },
      ...{
        "elementwise_where_add: out0": 1,
        "elementwise_add_add: out0": 1,
        "elementwise_add_add: in2 out0": 1,
      },
      ...{ "elementwise_add_add: in0 in2 out0": 4, "elementwise_add: in0 in1": 1 },
      ...{ "elementwise_add: in0 out0": 2, "elementwise_add: in1 out0": 2 },
      ...{ "matmul_nt: a b c": 44, "attention_rope: qkv o": 11, "swiglu: gate_up y": 11 },
      // The second forward reads position 0 alone after its last attention: those tensors stay in f32.
      ...{ "matmul_nt: b c": 1, "attention_rope: qkv": 1 },
      // The last norm of a level is kept, as the carry, or read by the heads.
      ...{ "rms_norm_residual: x residual y": 20, "rms_norm_residual: x residual": 2 },
      ...{ "attention_backward_rope: qkv d_qkv": 2, "attention_delta: o": 2 },
      ...{ "swiglu_backward: gate_up d_gate_up": 2, "rms_norm_backward: y": 2 },
      ...{ "matmul_nn: a b": 1, "matmul_nn: b": 4, "matmul_nn_residual: a b": 3 },
      ...{ "matmul_tn: a b": 4, "matmul_tn: b": 4 },
    });
    assertSound(stepPlan);
    // Memory, and kernels to measure, are planned for the same programs.
    const run = { config: wide, train: training, data, validation: data };
    const namesOf = (target: Target) =>
      trainingKernels({ ...run, target }, wide.batch_size).map(({ name }) => name);
    const names = stepPlan.dispatches.map(({ kernel }) => kernel.name);
    assert.deepEqual(namesOf(target).slice(0, names.length), names);
    assert.isEmpty(namesOf(targetOf(traits)).filter((name) => name.includes("_half")));
  });

  it("reproduce a training step's losses and gradients, and resume to the bit, with emulated f16 @slow", async function () {
    whereEmulated.call(this);
    this.timeout(600_000);
    const options = { config, train: training, data, seed: 5 };
    /** Metrics and state after this many steps. */
    const train = async (
      on: { device: Device; target?: Target },
      count: number,
      resume?: TrainingSnapshot,
    ) => {
      const trainer = await createTrainer({ ...options, ...on, ...(resume && { resume }) });
      try {
        await trainer.run(count);
        return { metrics: await trainer.metrics(), snapshot: await trainer.save() };
      } finally {
        trainer.destroy();
      }
    };
    const device = await openTestDevice();
    try {
      const pipeline = device.pipeline.bind(device);
      device.pipeline = (kernel, context) => pipeline(emulatedByEights(inWords(kernel)), context);
      const on = { device, target: inMixed(device.target) };
      const found = await train(on, 3);
      const { metrics: expected } = await train({ device: await testDevice() }, 3);
      found.metrics.forEach((step, i) => {
        assert.approximately(step.lm_loss, expected[i]!.lm_loss, 1e-3 * expected[i]!.lm_loss);
        const norm = expected[i]!.gradientNorm;
        assert.approximately(step.gradientNorm, norm, 5e-3 * norm);
      });
      const { snapshot } = await train(on, 2);
      const resumed = await train(on, 1, snapshot);
      for (const [name, { data }] of found.snapshot.state)
        assert.deepEqual([...resumed.snapshot.state.get(name)!.data], [...data], name);
    } finally {
      device.destroy();
    }
  });
});
