import { assert } from "chai";
import {
  add,
  assign,
  compile,
  constant,
  DeviceLostError,
  exp,
  f32,
  GpuError,
  mul,
  openDevice,
  read,
  variable,
} from "../../engine/index.js";
import { openTestGpu } from "../support/platform.js";
import { rejection } from "../support/rejection.js";

/** A call that WebGPU refuses: MAP_READ goes with COPY_DST only. */
const mistake = (gpu: GPUDevice): GPUBuffer =>
  gpu.createBuffer({ label: "the host's", size: 16, usage: 1 | 128 });

/** Runs with a GPUDevice that belongs to the host, and what its own listener hears. */
async function withHost(
  body: (gpu: GPUDevice, heard: { message: string; muted: boolean }[]) => Promise<void>,
): Promise<void> {
  const gpu = await openTestGpu();
  const heard: { message: string; muted: boolean }[] = [];
  gpu.addEventListener("uncapturederror", (event) => {
    heard.push({ message: event.error.message, muted: event.defaultPrevented });
    event.preventDefault();
  });
  try {
    await body(gpu, heard);
  } finally {
    gpu.destroy();
  }
}

/** Uncaught errors are reported a little later. */
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));

describe("a GPUDevice of the host", () => {
  it("outlives the engine on it, which frees what it made", async () => {
    await withHost(async (gpu) => {
      let lost = false;
      void gpu.lost.then(() => (lost = true));
      const device = await openDevice({ device: gpu });
      const w = variable(device, f32(4), "w");
      const program = await compile(device, {}, () => ({ y: add(w, 1) }));
      await program.call();
      device.destroy();
      device.destroy();
      assert.deepEqual([device.stats.bytesLive, device.stats.buffersLive], [0, 0]);
      for (const call of [
        () => program.run(),
        () => w.read(),
        () => device.idle(),
        async () => Promise.resolve(variable(device, f32(1), "v")),
        async () => Promise.resolve(w.write(new Float32Array(4))),
      ])
        assert.instanceOf(await rejection(call()), DeviceLostError);
      w.destroy();
      program.destroy();
      assert.equal(device.stats.buffersLive, 0);
      await gpu.queue.onSubmittedWorkDone();
      await pause();
      assert.isFalse(lost);
      const again = await openDevice({ device: gpu });
      assert.deepEqual([...(await read(again, add(constant([1]), 1)))], [2]);
      again.destroy();
    });
  });

  it("gets a label with the package's name on every object that the engine makes on it", async () => {
    await withHost(async (gpu) => {
      const labels: string[] = [];
      for (const method of [
        ...(["createBuffer", "createShaderModule", "createComputePipelineAsync"] as const),
        ...(["createBindGroup", "createBindGroupLayout", "createCommandEncoder"] as const),
      ]) {
        const real = gpu[method].bind(gpu) as (descriptor: GPUObjectDescriptorBase) => unknown;
        const value = (descriptor: GPUObjectDescriptorBase): unknown => {
          labels.push(`${method} ${descriptor.label}`);
          return real(descriptor);
        };
        Object.defineProperty(gpu, method, { value });
      }
      const device = await openDevice({ device: gpu });
      const w = variable(device, f32(4), "w");
      const program = await compile(device, { x: f32(4) }, ({ x }) => ({ y: add(w, x) }), { name: "adds" });
      await program.call({ x: new Float32Array(4) });
      device.destroy();
      assert.includeMembers(labels, ["createBuffer hrm-webgpu: w", "createCommandEncoder hrm-webgpu: adds"]);
      assert.deepEqual(
        labels.filter((label) => !/^\w+ hrm-webgpu: ./.test(label)),
        [],
      );
      assert.lengthOf(new Set(labels.map((label) => label.split(" ")[0])), 6, "every method was called");
    });
  });

  it("leaves errors of the host alone: they are not muted, and fail no call of the engine", async () => {
    await withHost(async (gpu, heard) => {
      const device = await openDevice({ device: gpu });
      const program = await compile(device, { x: f32(1) }, ({ x }) => ({ y: mul(x, 2) }));
      mistake(gpu);
      await pause();
      assert.deepEqual([...(await program.call({ x: Float32Array.of(3) }))["y"]], [6]);
      gpu.pushErrorScope("validation");
      const running = program.call({ x: Float32Array.of(4) });
      mistake(gpu);
      const scope = await gpu.popErrorScope();
      assert.match(scope!.message, /./);
      assert.deepEqual([...(await running)["y"]], [8]);
      await device.idle();
      assert.equal(heard.length, 1);
      assert.isFalse(heard[0]!.muted);
      device.destroy();
    });
  });

  it("does not hear the errors of the engine, which rejects its own call", async () => {
    await withHost(async (gpu, heard) => {
      const [device, other] = [await openDevice({ device: gpu }), await openDevice({ device: gpu })];
      const w = variable(device, f32(4), "w");
      const program = await compile(device, {}, () => assign(w, exp(w)));
      const w2 = variable(other, f32(4), "w2");
      // Behind the engine's back.
      w.buffers[0]!.destroy();
      const error = await rejection(program.run().then(() => device.idle()));
      assert.instanceOf(error, GpuError);
      assert.match(error.message, /The GPU reported:.*w/s);
      await device.idle();
      // Another one on the same GPUDevice has nothing to do with it.
      await other.idle();
      assert.deepEqual([...(await w2.read())], [0, 0, 0, 0]);
      await pause();
      assert.deepEqual(heard, []);
      device.destroy();
      assert.deepEqual([...(await w2.read())], [0, 0, 0, 0]);
      other.destroy();
    });
  });

  it("has no listeners after the engine is destroyed", async () => {
    await withHost(async (gpu) => {
      let listeners = 0;
      const count = (name: "addEventListener" | "removeEventListener", by: number): void => {
        const original = gpu[name].bind(gpu) as (...args: unknown[]) => void;
        gpu[name] = (...args: unknown[]) => {
          listeners += by;
          original(...args);
        };
      };
      count("addEventListener", 1);
      count("removeEventListener", -1);
      for (let i = 0; i < 3; i++) (await openDevice({ device: gpu })).destroy();
      assert.equal(listeners, 0);
    });
  });

  it("is reported lost to every engine on it", async () => {
    await withHost(async (gpu) => {
      const devices = [await openDevice({ device: gpu }), await openDevice({ device: gpu })];
      gpu.destroy();
      for (const device of devices) {
        assert.instanceOf(await device.lost, DeviceLostError);
        assert.instanceOf(await rejection(device.idle()), DeviceLostError);
      }
    });
  });
});

describe("many engines and programs in turn", () => {
  it("leave no buffer on the host's device, however many there were", async () => {
    await withHost(async (gpu) => {
      const live = new Set<GPUBuffer>();
      const create = gpu.createBuffer.bind(gpu);
      gpu.createBuffer = (descriptor) => {
        const buffer = create(descriptor);
        const destroy = buffer.destroy.bind(buffer);
        buffer.destroy = () => {
          live.delete(buffer);
          return destroy();
        };
        live.add(buffer);
        return buffer;
      };
      let made = 0;
      for (let k = 0; k < 10; k++) {
        const device = await openDevice({ device: gpu });
        const w = variable(device, f32(4), "w");
        for (let i = 0; i < 3; i++) {
          const program = await compile(device, { x: f32(4) }, ({ x }) => {
            assign(w, add(w, x));
            return { y: mul(x, 2) };
          });
          await program.call({ x: new Float32Array(4) });
          program.destroy();
          assert.lengthOf([...live], 1, `program ${i} of engine ${k} left a buffer`);
        }
        made += device.stats.buffersCreated;
        // The engine frees what was not destroyed before.
        device.destroy();
        assert.lengthOf([...live], 0, `engine ${k} left a buffer`);
      }
      assert.isAbove(made, 10 * 3 * 2);
    });
  });
});

describe("pipelines kept for later", () => {
  it("are the most recently used ones within the budget; programs keep theirs", async () => {
    await withHost(async (gpu) => {
      const device = await openDevice({ device: gpu, maxPipelines: 2 });
      const program = (n: number) => compile(device, { x: f32(n) }, ({ x }) => ({ y: mul(x, 2) }));
      const [first] = [await program(1), await program(2)];
      assert.equal(device.stats.pipelinesCreated, 2);
      await program(1);
      await program(3);
      assert.equal(device.stats.pipelinesCreated, 3, "1 is still there");
      await program(1);
      assert.equal(device.stats.pipelinesCreated, 3, "1 was used after 2");
      await program(2);
      assert.equal(device.stats.pipelinesCreated, 4, "2 was dropped");
      assert.deepEqual([...(await first.call({ x: Float32Array.of(3) }))["y"]], [6]);
      device.destroy();
    });
  });
});
