// Each frame is one submission: the model trains a step, writes its curve into a vertex buffer, and the renderer draws it.
// Nothing is read back.
import {
  assign,
  compile,
  f32,
  grad,
  hostTensor,
  linear,
  mean,
  openDevice,
  square,
  sub,
  truncatedNormal,
  variable,
} from "hrm-webgpu/engine";
import { tanh } from "hrm-webgpu/engine/operations";
import { adam } from "hrm-webgpu/engine/optimizers";

const POINTS = 256;
const FRAMES = 300;
const result = document.querySelector("#result");

/** The renderer: the device is its own, and so are the canvas and the pipelines. */
async function openRenderer(canvas) {
  const adapter = await navigator.gpu.requestAdapter();
  const gpu = await adapter.requestDevice();
  const format = navigator.gpu.getPreferredCanvasFormat();
  const target = location.search === "?texture" ? drawingTexture(gpu, format) : canvas.getContext("webgpu");
  target.configure({ device: gpu, format });
  const module = gpu.createShaderModule({
    code: `
      @vertex fn vertex(@location(0) height: f32, @builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
        return vec4f(f32(i) / ${POINTS - 1}.0 * 2.0 - 1.0, height * 0.8, 0.0, 1.0);
      }
      @fragment fn fragment() -> @location(0) vec4f { return vec4f(0.2, 0.6, 1.0, 1.0); }`,
  });
  const pipeline = gpu.createRenderPipeline({
    layout: "auto",
    vertex: {
      module,
      buffers: [{ arrayStride: 4, attributes: [{ shaderLocation: 0, offset: 0, format: "float32" }] }],
    },
    fragment: { module, targets: [{ format }] },
    primitive: { topology: "line-strip" },
  });
  const draw = (encoder, heights) => {
    const view = target.getCurrentTexture().createView();
    const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store" }] });
    pass.setPipeline(pipeline);
    pass.setVertexBuffer(0, heights);
    pass.draw(POINTS);
    pass.end();
  };
  return { gpu, draw };
}

/**
 * In place of the canvas's context, with ?texture in the address: headless Chromium on a software adapter loses the device
 * when it presents a canvas.
 */
function drawingTexture(gpu, format) {
  const texture = gpu.createTexture({ size: [512, 256], format, usage: GPUTextureUsage.RENDER_ATTACHMENT });
  return { configure: () => undefined, getCurrentTexture: () => texture };
}

/** The model: it learns a sine, and leaves its curve in a buffer with the usage VERTEX. */
async function openModel(device) {
  const xs = Float32Array.from({ length: POINTS }, (_, i) => (2 * i) / (POINTS - 1) - 1);
  const x = variable(device, hostTensor(xs, [POINTS, 1]), "x");
  const y = variable(
    device,
    hostTensor(
      xs.map((v) => Math.sin(3 * v)),
      [POINTS, 1],
    ),
    "y",
  );
  const parameters = [
    variable(device, truncatedNormal([32, 1], 1), "w1"),
    variable(device, truncatedNormal([32], 0.5), "b1"),
    variable(device, truncatedNormal([1, 32], 0.2), "w2"),
  ];
  const [w1, b1, w2] = parameters;
  const curve = variable(device, f32(POINTS, 1), "curve", 1, { usage: GPUBufferUsage.VERTEX });
  const optimizer = adam(parameters, { learningRate: 0.02 });
  const step = await compile(device, {}, () => {
    const predicted = linear(tanh(linear(x, w1, b1)), w2);
    optimizer.step(grad(mean(square(sub(predicted, y))), parameters));
    assign(curve, predicted);
  });
  return { step, curve, xs };
}

async function main() {
  const { gpu, draw } = await openRenderer(document.querySelector("canvas"));
  const device = await openDevice({ device: gpu }); // a guest on the renderer's device
  const { step, curve, xs } = await openModel(device);
  for (let frame = 0; frame < FRAMES; frame++) {
    await new Promise(requestAnimationFrame);
    const encoder = gpu.createCommandEncoder();
    step.encodeInto(encoder);
    draw(encoder, curve.buffers[0]);
    gpu.queue.submit([encoder.finish()]);
  }
  const readBacks = device.stats.readbacks;
  const heights = await curve.read(); // once, to say how well it learned
  const loss = heights.reduce((sum, h, i) => sum + (h - Math.sin(3 * xs[i])) ** 2, 0) / POINTS;
  result.textContent = `loss ${loss.toFixed(4)} after ${FRAMES} frames, ${readBacks} read-backs`;
  device.destroy(); // the renderer's device stays open
}

main().catch((error) => (result.textContent = `failed: ${error}`));
