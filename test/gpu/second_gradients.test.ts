/** Gradients of gradients through the kernels of transformer blocks, and gradients of rotary tables. */
import { assert } from "chai";
import { targetWith } from "../../engine/adapter.js";
import { checkGradient, type CheckedInput } from "../../engine/check_gradient.js";
import {
  attention,
  concat,
  constant,
  crossEntropy,
  f32,
  grad,
  mul,
  plan,
  reshape,
  rmsNorm,
  rope,
  square,
  sum,
  swiglu,
  type Tensor,
} from "../../engine/index.js";
import { defaultTraits } from "../../engine/planning.js";
import { cpuInference } from "../../kernels/cpu/inference.js";
import { gpuInference } from "../../kernels/gpu/inference.js";
import { testDevice } from "../support/device.js";
import { random } from "../support/random.js";

type Inputs = Readonly<Record<string, Tensor>>;

/** A function, and the shapes of the inputs by which it is differentiated. */
type Case = readonly [f: (x: Inputs) => Tensor, shapes: Readonly<Record<string, readonly number[]>>];

const LABELS = [2, 0, -100];
const labels = (): Tensor => constant(Int32Array.from(LABELS));
const packed = { x: [1, 2, 6] };
const rotated = { ...packed, cos: [2, 2], sin: [2, 2] };

const cases: Readonly<Record<string, Case>> = {
  rmsNorm: [
    ({ x, residual }) => rmsNorm(x!, { residual: residual!, eps: 0.1 }),
    { x: [2, 3], residual: [2, 3] },
  ],
  swiglu: [({ x }) => swiglu(x!), { x: [2, 4] }],
  rope: [({ x, cos, sin }) => rope(x!, cos!, sin!, { heads: 1 }), rotated],
  "causal attention of heads": [({ x }) => attention(x!, { heads: 2, causal: true }), packed],
  "attention with rope": [
    ({ x, cos, sin }) => attention(x!, { heads: 1, rope: { cos: cos!, sin: sin! } }),
    rotated,
  ],
  "cross entropy of softmax": [({ x }) => crossEntropy(x!, labels()).loss, { x: [3, 3] }],
  "cross entropy of stablemax": [
    ({ x }) => crossEntropy(x!, labels(), { kind: "stablemax" }).loss,
    { x: [3, 3] },
  ],
};

const valuesOf = (shapes: Readonly<Record<string, readonly number[]>>): Record<string, CheckedInput> =>
  Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      // Far from 0, where stablemax bends.
      return [name, { shape, data: random(size, 0.3, 1).map((v, i) => (i % 3 === 1 ? -v : v)) }];
    }),
  );

describe("gradients of gradients", () => {
  for (const [name, [f, shapes]] of Object.entries(cases))
    it(`of ${name} agree with finite differences, as the gradients do`, async () => {
      const device = await testDevice();
      const values = valuesOf(shapes);
      /** All gradients of a function that is linear in no input. */
      const gradients = (x: Inputs): Tensor => {
        const y = f(x);
        const inputs = Object.keys(shapes).map((key) => x[key]!);
        return concat(
          grad(sum(mul(y, mul(y, y))), inputs).map((g) => reshape(g, [-1])),
          0,
        );
      };
      for (const [order, g] of Object.entries({ first: f, second: gradients })) {
        const found = await checkGradient(device, g, values);
        assert.isAtMost(found.worst, 1, `${order}: ${JSON.stringify(found)}`);
      }
    });
});

describe("a device that was opened for inference", () => {
  it("compiles gradients of attention with portable kernels", () => {
    const traits = {
      ...defaultTraits,
      features: new Set(["subgroups"]),
      adapterInfo: { ...defaultTraits.adapterInfo, subgroupMinSize: 32, subgroupMaxSize: 32 },
    };
    const target = targetWith({ gpu: gpuInference, cpu: cpuInference }, traits);
    const { dispatches } = plan(target, { x: f32(1, 4, 96), t: f32(4, 32) }, ({ x, t }) => ({
      g: grad(sum(square(attention(x, { heads: 1, rope: { cos: t, sin: t } }))), x),
    }));
    const names = dispatches.map(({ kernel }) => kernel.name).filter((name) => /attention|rope/.test(name));
    assert.deepEqual(names, [
      "attention_rope_b1_s4_h1_d32_quads_x1",
      "attention_delta_b1_s4_h1_d32",
      "rope_b1_s4_h1_d32",
      "attention_backward_b1_s4_h1_d32",
      "rope_inverse_b1_s4_h1_d32",
    ]);
  });
});
