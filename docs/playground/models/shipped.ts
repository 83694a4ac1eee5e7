/** A recorded thought of the model that comes with the page, for browsers without WebGPU; `record.mjs` made it. */
export const RECORDING = "models/recording.json";

/** The checkpoint that comes with the page, so that there is a thinking model to see before the visitor trains one. */
export const SHIPPED = {
  file: "models/shipped.safetensors",
  /** What trained it. */
  command:
    "npm run train -- --preset sudoku4 --H_cycles 1 --L_cycles 1 --halt_max_steps 8 --seed 11 --steps 1500",
} as const;
