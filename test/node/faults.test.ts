import { assert } from "chai";
import { assign, compile, f32, grad, matmul, mean, sub, variable, type Device } from "../../engine/index.js";
import { defaultTraits } from "../../engine/planning.js";
import {
  createEvaluator,
  createSession,
  createSolver,
  createTrainer,
  createWeights,
  initialState,
  modelConfig,
} from "../../hrm/index.js";
import type { Preset } from "../../hrm/training/presets.js";
import { stubDevice, type StubFunctions } from "../support/stub_device.js";
import { haltOnly, randomPuzzles, training } from "../support/tiny.js";

/** A device without a GPU whose n-th call of a function fails, and which counts open error scopes. */
function faultyDevice(
  method: "createBuffer" | "createComputePipelineAsync",
  n: number,
): { device: Device; calls: () => number; scopes: () => number } {
  let [calls, scopes] = [0, 0];
  const made: StubFunctions = {
    createBuffer: (of) => ({ ...(of as GPUBufferDescriptor), destroy: () => undefined }),
    createComputePipelineAsync: () => Promise.resolve({}),
  };
  const device = stubDevice(defaultTraits, {
    [method]: (...args) => {
      if (++calls !== n) return made[method]!(...args);
      if (method === "createBuffer") throw new RangeError("out of memory, planted");
      return Promise.reject(new Error("no pipeline, planted"));
    },
    pushErrorScope: () => void scopes++,
    popErrorScope() {
      scopes--;
      return Promise.resolve(null);
    },
  });
  return { device, calls: () => calls, scopes: () => scopes };
}

/** Every failure traces and plans anew, so that the model is as small as it can be. */
const model = modelConfig({ ...haltOnly, H_cycles: 1, L_cycles: 1, bp_steps: 1, halt_exploration_prob: 0 });
const data = randomPuzzles(12, model, 1);
const weightsOf = (device: Device) => createWeights(device, model, initialState(model, 1));
const preset: Preset = {
  name: "tiny",
  summary: "",
  task: { symmetry: null },
  model,
  train: training,
  stopAt: 1,
  evalEvery: 10,
  evalLimit: 10,
  splitBy: "class",
  splits: () => ({ train: data, validation: data, test: data }),
} as unknown as Preset;

/** What is made. Each allocation and each pipeline of it fails once. */
const makers: Record<string, (device: Device) => Promise<{ destroy(): void }>> = {
  async compile(device) {
    const w = variable(device, f32(12, 4), "w", 3);
    try {
      const program = await compile(device, { x: f32(8, 4) }, ({ x }) => {
        const loss = mean(matmul(x, w));
        assign(w, sub(w, grad(loss, w)));
        return { loss };
      });
      program.destroy();
    } finally {
      w.destroy();
    }
    return w;
  },
  trainer: (device) => createTrainer({ device, config: model, train: training, data, seed: 1 }),
  "trainer with micro-batches": (device) =>
    createTrainer({ device, config: model, train: training, data, seed: 1, microBatch: 1 }),
  session: (device) => createSession({ device, preset, seed: 1 }),
  async evaluator(device) {
    const weights = weightsOf(device);
    try {
      const evaluator = await createEvaluator({ device, config: model, weights, data });
      evaluator.destroy();
    } finally {
      for (const v of weights.values()) v.destroy();
    }
    return { destroy: () => undefined };
  },
  async solver(device) {
    const weights = weightsOf(device);
    try {
      const solver = await createSolver({ device, config: model, weights });
      solver.destroy();
    } finally {
      for (const v of weights.values()) v.destroy();
    }
    return { destroy: () => undefined };
  },
};

describe("a failure while things are made on the GPU", () => {
  for (const [name, make] of Object.entries(makers))
    for (const method of ["createBuffer", "createComputePipelineAsync"] as const)
      it(`leaves nothing behind: ${name}, whichever ${method} fails`, async function () {
        this.timeout(120_000);
        const whole = faultyDevice(method, Infinity);
        (await make(whole.device)).destroy();
        assert.deepEqual([whole.device.stats.bytesLive, whole.scopes()], [0, 0], "without a failure");
        const count = whole.calls();
        assert.isAbove(count, 3);
        for (let n = 1; n <= count; n++) {
          const { device, scopes } = faultyDevice(method, n);
          let error: unknown = null;
          try {
            await make(device);
          } catch (caught) {
            error = caught;
          }
          assert.match(String(error), /planted/, `failure ${n} of ${count}`);
          const { bytesLive, buffersLive } = device.stats;
          assert.deepEqual([bytesLive, buffersLive, scopes()], [0, 0, 0], `failure ${n} of ${count}`);
        }
      });
});
