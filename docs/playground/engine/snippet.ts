/** A program of ten lines on the engine, which a test runs. */
export const SNIPPET = `import { compile, f32, matmul, mean, openDevice } from "hrm-webgpu/engine";

const device = await openDevice();
const program = await compile(device, { a: f32(2, 3), b: f32(3, 2) }, ({ a, b }) => {
  const c = matmul(a, b);
  return { c, mean: mean(c) };
});
const a = Float32Array.of(1, 2, 3, 4, 5, 6);
const { c, mean: middle } = await program.call({ a, b: a });
console.log(c, middle[0]);`;
