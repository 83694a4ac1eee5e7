// The whole library on the page's thread, the work in a module worker.
import { findPreset } from "hrm-webgpu";
import { load } from "hrm-webgpu/solve";

const result = document.querySelector("#result");
const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
worker.onmessage = ({ data }) => {
  result.textContent = `${data}; ${findPreset("sudoku4").name} is a preset, and load is a ${typeof load}`;
};
worker.onerror = ({ message }) => {
  result.textContent = `failed: ${message}`;
};
