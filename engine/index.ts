/** The tensor engine: trace, compile, replay. */
export {
  baselineCapabilities,
  type Capabilities,
  type KernelChoices,
  type MixedPrecision,
} from "../kernels/capabilities.js";
export { KernelError, type Dtype, type Kernel } from "../kernels/core/kernel.js";
export type { Abortable } from "./abort.js";
export { grad } from "./autodiff.js";
export {
  compile,
  plan,
  read,
  type CompileOptions,
  type OutputsOf,
  type ProgramBody,
  type ProgramResult,
} from "./compiler/compile.js";
export type { InputSpecs, OutputSpecs, Plan } from "./compiler/plan.js";
export { isSoftwareAdapter, refuseNullAdapter, type AdapterDescription } from "./adapter.js";
export type { Allocator } from "./allocator.js";
export { Device, type DeviceOptions, type DeviceStats } from "./device.js";
export { openDevice } from "./open_device.js";
export * from "./errors.js";
export * from "./initializers.js";
export * from "./ops/elementwise.js";
export { takeRows } from "./ops/embedding.js";
export { concat, slice, transpose } from "./ops/layout.js";
export { linear, matmul, type MatmulOptions } from "./ops/matmul.js";
export { crossEntropy } from "./ops/cross_entropy.js";
export { attention, rmsNorm, rope, swiglu } from "./ops/nn.js";
export type { AttentionOptions, RmsNormOptions, RopeTensors } from "./ops/blocks.js";
export { randomBits, randomInt, randomUniform } from "./ops/random.js";
export { maxOver, mean } from "./ops/reduce.js";
export { broadcastShapes, broadcastTo, sum, sumTo, type ReduceOptions } from "./ops/broadcast.js";
export { reshape, stopGradient } from "./ops/view.js";
export type { ExplainedDispatch } from "./explain.js";
export {
  Program,
  runSequence,
  type InputValues,
  type OutputValues,
  type OutputVariables,
} from "./program.js";
export {
  constant,
  f32,
  formatSpec,
  i32,
  scalar,
  sizeOf,
  Tensor,
  typed,
  u32,
  type ArrayOf,
  type Shape,
  type TensorSpec,
  type TypedArray,
} from "./tensor.js";
export type { TensorLike } from "./trace.js";
export { withChoices, type Target } from "./target.js";
export { assign } from "./trace.js";
export type { BufferPlace } from "./host_buffer.js";
export type { HostBuffer, HostDevice, HostEncoder } from "./host_types.js";
export { hostTensor, Variable, variable, type HostTensor, type VariableOptions } from "./variable.js";
