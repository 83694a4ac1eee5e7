import resolve from "@rollup/plugin-node-resolve";

// Rollup leaves `new Worker(new URL("./worker.js", import.meta.url))` as it is: the worker is an entry of its own.
export default {
  input: ["main.js", "worker.js"],
  output: { dir: "dist", format: "es" },
  plugins: [resolve({ browser: true })],
};
