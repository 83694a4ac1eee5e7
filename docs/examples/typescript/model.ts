// Exported without a type annotation: the declarations must be able to name what is inferred.
import { compile, f32, i32, matmul, mean, typed, type Device, type Tensor } from "hrm-webgpu/engine";
import { softmax, topk } from "hrm-webgpu/engine/operations";
import { adam } from "hrm-webgpu/engine/optimizers";
import { createSession, findPreset } from "hrm-webgpu";
import { load } from "hrm-webgpu/solve";
import { openNodeDevice } from "hrm-webgpu/node";
import { checkGradient } from "hrm-webgpu/engine/check-gradient";
import { customOp } from "hrm-webgpu/engine/custom-op";
import { sudokuTask } from "hrm-webgpu/hrm/tasks";

export const open = (device: Device) =>
  compile(device, { x: f32(2, 3), w: f32(3, 4), labels: i32(2) }, ({ x, w }) => {
    const y = softmax(matmul(x, w));
    return { y: typed(y, f32(2, 4)), mean: mean(y) };
  });
export const best = (x: Tensor) => topk(x, 2);
export const optimizer = adam;
export const session = (device: Device) => createSession({ device, preset: findPreset("sudoku4")!, seed: 0 });
export const solver = load;
export const rest = { openNodeDevice, checkGradient, customOp, sudokuTask };

export async function run(device: Device) {
  const program = await open(device);
  const { y } = await program.call({
    x: new Float32Array(6),
    w: new Float32Array(12),
    labels: new Int32Array(2),
  });
  // @ts-expect-error no output has this name
  program.read("loss");
  // @ts-expect-error labels are integers
  void program.run({ labels: new Float32Array(2) });
  const host: GPUDevice = device.gpu; // declared by TypeScript 6 and newer, for others by @webgpu/types
  // @ts-expect-error a GPUDevice is no `any`
  void host.nothing;
  return y;
}
