// Trains on the GPU, away from the page's thread.
import {
  assign,
  compile,
  f32,
  grad,
  matmul,
  mean,
  mul,
  openDevice,
  square,
  sub,
  truncatedNormal,
  variable,
} from "hrm-webgpu/engine";
import { load } from "hrm-webgpu/solve";

async function train() {
  const device = await openDevice();
  const w = variable(device, truncatedNormal([4, 2], 0.5), "w");
  const step = await compile(device, { x: f32(8, 4), y: f32(8, 2) }, ({ x, y }) => {
    const loss = mean(square(sub(matmul(x, w), y)));
    assign(w, sub(w, mul(grad(loss, w), 0.1)));
    return { loss };
  });
  const x = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
  const y = Float32Array.from({ length: 16 }, (_, i) => Math.cos(i));
  for (let i = 0; i < 100; i++) await step.run({ x, y });
  const { loss } = await step.call({ x, y });
  device.destroy();
  return `loss ${loss[0].toFixed(4)}; in the worker, load is a ${typeof load}`;
}

train().then(postMessage, (error) => postMessage(`failed: ${error}`));
