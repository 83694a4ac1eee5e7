// A transformer block learns to reverse sequences. Written from the guide "Write a model".
import {
  add,
  attention,
  cast,
  compile,
  crossEntropy,
  equal,
  grad,
  i32,
  linear,
  mean,
  rmsNorm,
  swiglu,
  takeRows,
  truncatedNormal,
  variable,
} from "hrm-webgpu/engine";
import { adamW } from "hrm-webgpu/engine/optimizers";
import { openNodeDevice } from "hrm-webgpu/node";

const [batch, length, symbols, width, heads, inner] = [64, 6, 8, 32, 2, 64];
const device = await openNodeDevice();

const parameters = [];
function weight(name, rows, columns, std = columns ** -0.5) {
  const initial = truncatedNormal([rows, columns], std, { seed: 7, stream: parameters.length });
  parameters.push(variable(device, initial, name));
  return parameters.at(-1);
}

const tokens = weight("tokens", symbols, width, 1);
const positions = weight("positions", length, width, 1);
const qkv = weight("qkv", 3 * width, width);
const out = weight("out", width, width);
const gateUp = weight("gate_up", 2 * inner, width);
const down = weight("down", width, inner);
const head = weight("head", symbols, width);

/** Logits [batch, length, symbols] of the reversed sequence. */
function model(x) {
  const h = add(takeRows(tokens, x), positions);
  const mixed = rmsNorm(linear(attention(linear(h, qkv), { heads }), out), { residual: h });
  const block = rmsNorm(linear(swiglu(linear(mixed, gateUp)), down), { residual: mixed });
  return linear(block, head);
}

const optimizer = adamW(parameters, { learningRate: 5e-3 });
const step = await compile(device, { x: i32(batch, length), y: i32(batch, length) }, ({ x, y }) => {
  const { loss, prediction } = crossEntropy(model(x), y);
  const total = mean(loss);
  optimizer.step(grad(total, parameters));
  return { loss: total, right: mean(cast(equal(prediction, y), "f32")) };
});

/** Random sequences, and the same reversed. */
function batchOf() {
  const x = Int32Array.from({ length: batch * length }, () => Math.floor(Math.random() * symbols));
  const y = x.map((_, i) => x[i - (i % length) + (length - 1 - (i % length))]);
  return { x, y };
}

for (let i = 0; i < 250; i++) await step.run(batchOf());
const { loss, right } = await step.call(batchOf()); // sequences that it has not seen
console.log(`loss ${loss[0].toFixed(4)}, ${(100 * right[0]).toFixed(1)}% of the symbols are right`);
device.destroy();
