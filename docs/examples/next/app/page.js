// Rendered on the server: what it imports runs under Node, where no GPU is needed.
import { findPreset } from "hrm-webgpu";
import { Trained } from "./trained.js";

export default function Page() {
  return (
    <>
      <p id="preset">{findPreset("sudoku4").name} is a preset</p>
      <Trained />
    </>
  );
}
