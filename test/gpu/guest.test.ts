/** The engine as a guest: tensors in the host's buffers, and a renderer that draws what a program computes. */
import { assert } from "chai";
import {
  add,
  assign,
  compile,
  concat,
  constant,
  f32,
  grad,
  hostTensor,
  matmul,
  mean,
  mul,
  openDevice,
  sigmoid,
  square,
  sub,
  UsageError,
  variable,
  type Device,
} from "../../engine/index.js";
import { openTestGpu } from "../support/platform.js";
import { rejection, thrown } from "../support/rejection.js";

const USAGE = { MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, VERTEX: 32, STORAGE: 128 };
const ALL = USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST;

/** An engine's device on a GPUDevice of the host. Any error that reaches the host is a failure. */
async function asGuest(body: (gpu: GPUDevice, device: Device) => Promise<void>): Promise<void> {
  const gpu = await openTestGpu();
  const heard: string[] = [];
  gpu.addEventListener("uncapturederror", ({ error }) => heard.push(error.message));
  const device = await openDevice({ device: gpu });
  try {
    await body(gpu, device);
    await device.idle();
    assert.deepEqual(heard, []);
  } finally {
    device.destroy();
    gpu.destroy();
  }
}

async function floatsOf(gpu: GPUDevice, buffer: GPUBuffer, count: number, offset = 0): Promise<number[]> {
  const staging = gpu.createBuffer({ size: 4 * count, usage: USAGE.MAP_READ | USAGE.COPY_DST });
  const encoder = gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, offset, staging, 0, 4 * count);
  gpu.queue.submit([encoder.finish()]);
  await staging.mapAsync(1);
  const values = [...new Float32Array(staging.getMappedRange())];
  staging.destroy();
  return values;
}

describe("a buffer of the host's", () => {
  it("is a tensor that programs read and assign without a copy", async () => {
    await asGuest(async (gpu, device) => {
      // The buffers end with the tensors, whose 3 and 5 elements fill no 4-vector.
      const [from, to] = [
        gpu.createBuffer({ size: 256 + 12, usage: ALL }),
        gpu.createBuffer({ size: 512 + 20, usage: ALL }),
      ];
      gpu.queue.writeBuffer(from, 256, Float32Array.of(1, 2, 3));
      gpu.queue.writeBuffer(to, 0, new Float32Array(133).fill(-7));
      const x = variable(device, f32(3), "x", 1, { place: { buffer: from, offset: 256 } });
      const y = variable(device, f32(5), "y", 1, { place: { buffer: to, offset: 512 } });
      const program = await compile(device, {}, () => {
        assign(y, concat([mul(x, 10), constant([8, 9])], 0));
      });
      const before = device.stats.bytesLive;
      await program.run();
      assert.equal(device.stats.bytesLive, before);
      assert.deepEqual(await floatsOf(gpu, to, 5, 512), [10, 20, 30, 8, 9]);
      // What lies before the tensor is the host's.
      assert.deepEqual(await floatsOf(gpu, to, 128), new Array(128).fill(-7));
      // The host's writes count for the next run, and the variable reads what is in the buffer.
      gpu.queue.writeBuffer(from, 256, Float32Array.of(4, 5, 6));
      await program.run();
      assert.deepEqual([...(await y.read())], [40, 50, 60, 8, 9]);
      for (const owned of [program, x, y]) owned.destroy();
      // Both are still the host's to use.
      assert.deepEqual(await floatsOf(gpu, from, 3, 256), [4, 5, 6]);
    });
  });

  it("is checked: size, offset, usage, and one variable of a program in it", async () => {
    await asGuest(async (gpu, device) => {
      const buffer = gpu.createBuffer({ size: 512, usage: USAGE.STORAGE, label: "vertices" });
      const place = (offset: number, size: number, of = buffer) =>
        variable(device, f32(size), "x", 1, { place: { buffer: of, offset } });
      const plain = gpu.createBuffer({ size: 512, usage: USAGE.VERTEX, label: "plain" });
      const cases: [() => unknown, RegExp][] = [
        [() => place(0, 129), /buffer vertices of 512 bytes; expected at least 516/],
        [() => place(256, 65), /expected at least 516, for 260 bytes from 256 on/],
        [() => place(4, 1), /offset 4; expected a multiple of 256/],
        [() => place(0, 4, plain), /buffer plain without GPUBufferUsage.STORAGE/],
        [() => place(0, 4).write(new Float32Array(4)), /x\.write: .*without GPUBufferUsage.COPY_DST/],
      ];
      for (const [body, message] of cases) {
        const error = thrown(body);
        assert.instanceOf(error, UsageError);
        assert.match(error.message, message);
      }
      assert.match((await rejection(place(0, 4).read())).message, /x\.read: .*COPY_SRC/);
      const [first, second] = [place(0, 4), place(256, 4)];
      const both = thrown(() => compile(device, {}, () => ({ y: add(first, second) })));
      assert.match(both.message, /lie in one GPUBuffer/);
    });
  });
});

const POINTS = 64;

/** One pixel for each point, at the column of its number and the row of its height from 0 to 1. */
const SHADER = `
@vertex fn vertex(@location(0) height: f32, @builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
  let x = (f32(i) + 0.5) / ${POINTS}.0 * 2.0 - 1.0;
  return vec4f(x, height * 2.0 - 1.0, 0.0, 1.0);
}
@fragment fn fragment() -> @location(0) vec4f { return vec4f(1.0); }`;

describe("a renderer of the host's", () => {
  it("draws the results of a model that trains beside it, in one submission and without reading back", async () => {
    await asGuest(async (gpu, device) => {
      const xs = Float32Array.from({ length: POINTS }, (_, i) => i / POINTS);
      const ys = xs.map((x) => 0.25 + 0.5 * x);
      const inputs = variable(device, hostTensor(xs, [POINTS, 1]), "inputs");
      const targets = variable(device, hostTensor(ys, [POINTS, 1]), "targets");
      const w = variable(device, hostTensor(Float32Array.of(-1), [1, 1]), "w");
      const b = variable(device, f32(1), "b");
      // The curve is a vertex buffer that the program writes.
      const curve = variable(device, f32(POINTS, 1), "curve", 1, { usage: USAGE.VERTEX });
      const step = await compile(device, {}, () => {
        const y = sigmoid(matmul(inputs, w, { bias: b }));
        const loss = mean(square(sub(y, targets)));
        const [dw, db] = grad(loss, [w, b]);
        assign(w, sub(w, mul(dw, 5)));
        assign(b, sub(b, mul(db, 5)));
        assign(curve, sigmoid(matmul(inputs, w, { bias: b })));
      });
      const texture = gpu.createTexture({ size: [POINTS, 32], format: "r8unorm", usage: 16 | 1 });
      const module = gpu.createShaderModule({ code: SHADER });
      const pipeline = await gpu.createRenderPipelineAsync({
        layout: "auto",
        vertex: {
          module,
          buffers: [{ arrayStride: 4, attributes: [{ shaderLocation: 0, offset: 0, format: "float32" }] }],
        },
        fragment: { module, targets: [{ format: "r8unorm" }] },
        primitive: { topology: "point-list" },
      });
      const readbacks = device.stats.readbacks;
      /** Trains once and draws the curve, as a page does for each frame. */
      const frame = (after?: (encoder: GPUCommandEncoder) => void): void => {
        const encoder = gpu.createCommandEncoder();
        step.encodeInto(encoder);
        const pass = encoder.beginRenderPass({
          colorAttachments: [{ view: texture.createView(), loadOp: "clear", storeOp: "store" }],
        });
        pass.setPipeline(pipeline);
        pass.setVertexBuffer(0, curve.buffers[0]);
        pass.draw(POINTS);
        pass.end();
        after?.(encoder);
        gpu.queue.submit([encoder.finish()]);
      };
      for (let i = 0; i < 1000; i++) frame();
      const pixels = gpu.createBuffer({ size: 256 * 32, usage: USAGE.MAP_READ | USAGE.COPY_DST });
      frame((encoder) =>
        encoder.copyTextureToBuffer({ texture }, { buffer: pixels, bytesPerRow: 256 }, [POINTS, 32]),
      );
      assert.equal(device.stats.readbacks, readbacks);
      await pixels.mapAsync(1);
      const image = new Uint8Array(pixels.getMappedRange());
      const drawn = Array.from(xs, (_, column) =>
        Array.from({ length: 32 }, (_, row) => row).filter((row) => image[256 * row + column]! > 0),
      );
      const heights = await curve.read();
      for (const [column, rows] of drawn.entries()) {
        assert.lengthOf(rows, 1, `column ${column}`);
        // Rows count from the top; a point on an edge between rows belongs to either.
        assert.closeTo(rows[0]! + 0.5, 32 * (1 - heights[column]!), 0.51, `column ${column}`);
        // The model learned the line: a logistic curve can approximate it within 0.01.
        assert.closeTo(heights[column]!, ys[column]!, 0.05);
      }
      pixels.destroy();
      texture.destroy();
    });
  });
});
