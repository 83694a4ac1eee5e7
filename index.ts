/** Everything of the library's core: the engine and the model. Kernels, tasks and files have entry points of their own. */
export * from "./engine/index.js";
export * from "./hrm/index.js";
