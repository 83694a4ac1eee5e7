/**
 * WebGPU's types as a program finds them: those of TypeScript 6 and newer, or those of the package `@webgpu/types`. If there
 * are none, a name of theirs would silently mean `any`; these mean a text that says what to install.
 */
type HostType<Name extends string> =
  typeof globalThis extends Readonly<Record<Name, { readonly prototype: infer T }>>
    ? T
    : "WebGPU's types are missing: npm install --save-dev @webgpu/types, or use TypeScript 6";

/** A `GPUDevice`. */
export type HostDevice = HostType<"GPUDevice">;
/** A `GPUBuffer`. */
export type HostBuffer = HostType<"GPUBuffer">;
/** A `GPUCommandEncoder`. */
export type HostEncoder = HostType<"GPUCommandEncoder">;
