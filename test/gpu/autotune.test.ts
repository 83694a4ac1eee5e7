import { assert } from "chai";
import { autotune, choicesKey } from "../../engine/autotune.js";
import { compile, f32, linear, matmul, Device, type Kernel } from "../../engine/index.js";
import { attention } from "../../kernels/attention/choose.js";
import { attentionBackward } from "../../kernels/attention/choose_backward.js";
import { matmul as matmulKernel, matmulVariants } from "../../kernels/matmul/choose.js";
import { matmulName } from "../../kernels/matmul/spec.js";
import { cpuKernels } from "../../kernels/cpu/index.js";
import { alternativesOf } from "../../kernels/variants.js";
import { testDevice } from "../support/device.js";

const SPECS = [
  { layout: "nt", M: 32, N: 16, K: 12, bias: true },
  { layout: "nn", M: 64, N: 32, K: 16 },
] as const;
const NAMES = SPECS.map(matmulName);
const LARGE = NAMES[1]!;

async function kernels(): Promise<Kernel[]> {
  const { capabilities } = await testDevice();
  return SPECS.map((spec) => matmulKernel(spec, capabilities));
}

describe("autotune", () => {
  it("measures every variant of a product, and leaves no buffer behind @slow", async () => {
    const device = await testDevice();
    const { buffersLive, bytesLive } = device.stats;
    const [kernel] = await kernels();
    const report = await autotune(device, [kernel!, kernel!], { seconds: 60 });
    assert.deepEqual(
      report.measured.map((p) => p.kernel),
      [NAMES[0]],
    );
    assert.deepEqual(report.unmeasured, []);
    for (const { kernel, chosen, gain, variants } of report.measured) {
      const names = matmulVariants(SPECS[0], device.capabilities);
      assert.sameMembers(
        variants.map((v) => v.variant),
        names,
      );
      assert.equal(variants[0]!.variant, names[0], "the default comes first");
      assert.equal(report.choices[kernel], chosen);
      assert.equal(gain === 1, chosen === names[0]);
      for (const { variant, ms, refused } of variants) {
        assert.equal(ms === null, refused !== undefined, variant);
        if (ms !== null) assert.isAbove(ms, 0);
        // All variants are correct, so that only its time can exclude a variant.
        else assert.equal(refused, "slower");
      }
    }
    assert.deepEqual(
      { buffersLive: device.stats.buffersLive, bytesLive: device.stats.bytesLive },
      { buffersLive, bytesLive },
    );
  });

  it("measures attention, forward and backward @slow", async () => {
    const device = await testDevice();
    const spec = { batch: 1, length: 18, heads: 2, headDim: 8, causal: true };
    const capabilities = { ...device.capabilities, cpu: cpuKernels };
    const target = { ...device.target, capabilities };
    const kernels = [attention(spec, capabilities), attentionBackward(spec, capabilities)];
    const expected = kernels.filter((kernel) => alternativesOf(kernel, capabilities)!.variants.length > 1);
    const report = await autotune(device, kernels, { target, seconds: 60 });
    assert.sameMembers(
      report.measured.map(({ kernel }) => kernel),
      expected.map((kernel) => alternativesOf(kernel, capabilities)!.key),
    );
    for (const { chosen, kernel, variants } of report.measured) {
      assert.isTrue(
        variants.every(({ refused }) => refused === undefined || refused === "slower"),
        kernel,
      );
      assert.equal(report.target.capabilities.choices![kernel], chosen);
    }
  });

  it("returns a target whose programs take the choices, and other programs do not", async () => {
    const device = await testDevice();
    const choices = Object.fromEntries(
      SPECS.map((spec) => [matmulName(spec), matmulVariants(spec, device.capabilities)[1]!]),
    );
    const { choices: known, target, measured } = await autotune(device, await kernels(), { known: choices });
    assert.deepEqual(measured, [], "what is known is not measured");
    assert.deepEqual(known, choices);
    const trace = (options = {}) =>
      compile(
        device,
        { x: f32(64, 16), w: f32(16, 32), v: f32(8, 16) },
        ({ x, w, v }) => ({ y: matmul(x, w), z: linear(x, v) }),
        options,
      );
    const before = await trace();
    const after = await trace({ target });
    const kernelOf = (program: typeof after, size: string) =>
      program.dispatchList().find(({ kernel }) => kernel.includes(size))!;
    assert.deepInclude(kernelOf(after, LARGE), { kernel: `${LARGE}_${choices[LARGE]}`, chosen: true });
    assert.deepInclude(kernelOf(before, LARGE), { chosen: false });
    assert.notEqual(kernelOf(before, LARGE).kernel, kernelOf(after, LARGE).kernel);
    assert.deepEqual(kernelOf(after, "64x8x16"), kernelOf(before, "64x8x16"));
    for (const program of [before, after]) program.destroy();
  });

  it("takes no choice that names no variant here, stops when its time is up, and leaves the smallest for last", async () => {
    const device = await testDevice();
    const known = { [NAMES[0]!]: "r9x9", [LARGE]: "toString", toString: "r8x8" };
    const pipelines = device.stats.pipelinesCreated;
    const report = await autotune(device, await kernels(), { known, seconds: 0 });
    assert.deepEqual(report.choices, {});
    assert.deepEqual(report.unmeasured, [...NAMES].reverse());
    assert.equal(device.stats.pipelinesCreated, pipelines);
  });

  it("never chooses a variant with a wrong result, however fast", async () => {
    const device = await testDevice();
    const [spec] = SPECS;
    const [byDefault, second] = matmulVariants(spec, device.capabilities) as [string, string];
    const named = (variant: string) =>
      matmulKernel(spec, { ...device.capabilities, choices: { [NAMES[0]!]: variant } });
    // All but the default compute nothing, which takes no time at all.
    const idle = new Device(device.gpu, {}, device.adapterInfo, device.target);
    const real = idle.pipeline.bind(idle);
    const right = new Set([named(byDefault).name]);
    idle.pipeline = (kernel, context) =>
      real(
        right.has(kernel.name)
          ? kernel
          : { ...kernel, code: kernel.code.replace(/\bfn main\([^{]*\{/, "$& if (true) { return; }") },
        context,
      );
    const report = await autotune(idle, [named(byDefault)], { seconds: 60 });
    const { chosen, variants } = report.measured[0]!;
    assert.equal(chosen, byDefault);
    assert.include(
      variants.map((v) => v.variant),
      second,
    );
    for (const { variant, refused } of variants)
      assert.equal(refused, variant === byDefault ? undefined : "wrong result", variant);
  });

  it("chooses a variant only if it is faster than the default by the margin, and twice @slow", async () => {
    const { gpu, adapterInfo, capabilities, target } = await testDevice();
    const device = new Device(gpu, {}, adapterInfo, target);
    const variants = new Map<GPUComputePipeline, string>();
    const pipeline = device.pipeline.bind(device);
    device.pipeline = async (kernel, context) => {
      const made = await pipeline(kernel, context);
      variants.set(made, kernel.name);
      return made;
    };
    const [spec] = SPECS;
    const [byDefault, second] = matmulVariants(spec, capabilities) as [string, string];
    /** The choice if passes of the second variant take this share of the default's time, and any other's 2. */
    const chosen = async (share: (pass: number) => number, margin?: number): Promise<string> => {
      let passes = 0;
      const time = (
        encode: (pass: GPUComputePassEncoder) => void,
      ): Promise<{ gpu: number; wall: number }> => {
        let name = "";
        encode({
          setPipeline: (p: GPUComputePipeline) => (name = variants.get(p)!),
          setBindGroup: () => undefined,
          dispatchWorkgroups: () => undefined,
        } as unknown as GPUComputePassEncoder);
        const ms = name.endsWith(byDefault) ? 100 : name.endsWith(second) ? 100 * share(passes++) : 200;
        return Promise.resolve({ gpu: ms, wall: ms });
      };
      const report = await autotune(device, [matmulKernel(spec, capabilities)], {
        seconds: 60,
        ...(margin !== undefined && { margin }),
        stopwatch: {
          timestamps: true,
          time,
          timeEach: () => Promise.reject(new Error("not used")),
          destroy: () => undefined,
        },
      });
      return report.choices[NAMES[0]!]!;
    };
    assert.equal(await chosen(() => 0.99), byDefault, "1% faster");
    assert.equal(await chosen(() => 0.96), byDefault, "4% faster");
    assert.equal(await chosen(() => 0.9), second, "10% faster");
    assert.equal(await chosen(() => 0.9, 0.2), byDefault, "10% faster, a margin of 20%");
    assert.equal(await chosen(() => 0.99, 0.001), second, "1% faster, a margin of 0.1%");
    // One first pass, five passes interleaved with the others, then five passes interleaved with the default.
    assert.equal(await chosen((pass) => (pass < 6 ? 0.5 : 0.99)), byDefault, "fast at first only");
    device.destroy();
  });

  it("keeps choices under everything that a device says of itself, and the version", async () => {
    const device = await testDevice();
    const key = choicesKey(device, "1.0.0");
    assert.equal(key, choicesKey(device, "1.0.0"));
    assert.notEqual(key, choicesKey(device, "1.0.1"));
    for (const part of [device.gpu.adapterInfo.vendor, ...device.adapter.features]) assert.include(key, part);
  });
});
