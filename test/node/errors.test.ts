/** Every error of the library has one base class and a code, and no message prints a whole array. */
import { assert } from "chai";
import {
  baselineCapabilities,
  EngineError,
  f32,
  KernelError,
  ShapeError,
  variable,
} from "../../engine/index.js";
import { codeOfGpuError, GpuError } from "../../engine/errors.js";
import type { Device } from "../../engine/index.js";
import { inflate, InflateError } from "../../hrm/files/archives/inflate.js";
import { FileFormatError, readSafetensors } from "../../hrm/files/index.js";
import { ConfigError, modelConfig, StateError } from "../../hrm/index.js";
import { matmul } from "../../kernels/index.js";
import { thrown } from "../support/rejection.js";

/** An error by the name of its class, as devices of any realm report it. */
function reported(name: string): GPUError {
  const { [name]: Class } = { [name]: class {} };
  return new Class!() as GPUError;
}

describe("errors", () => {
  it("have one base class, and codes that tell them apart", () => {
    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- constructors of any arguments
    const cases: [new (...args: any[]) => Error, string, () => unknown][] = [
      [KernelError, "kernel", () => matmul({ layout: "nn", M: 0, N: 1, K: 1 }, baselineCapabilities)],
      [ConfigError, "config", () => modelConfig({ hidden_size: -1 })],
      [InflateError, "file", () => inflate(new Uint8Array([255]), 4)],
      [FileFormatError, "file", () => readSafetensors(new Uint8Array(3))],
      [ShapeError, "shape", () => variable({} as Device, f32(0), "w")],
    ];
    for (const [Class, code, body] of cases) {
      const error = thrown(body);
      assert.instanceOf(error, Class);
      assert.instanceOf(error, EngineError);
      assert.equal(error.code, code, Class.name);
    }
    assert.equal(new StateError("w", "nothing", "a tensor").code, "state");
  });

  it("tell out of memory, validation and internal errors of the GPU apart", () => {
    for (const [name, code] of [
      ["GPUOutOfMemoryError", "out-of-memory"],
      ["GPUValidationError", "validation"],
      ["GPUInternalError", "internal"],
    ] as const) {
      assert.equal(codeOfGpuError(reported(name)), code);
      assert.equal(new GpuError(code, "x").code, code);
    }
  });

  it("show a few elements of an array that was passed as a shape", () => {
    const data = Array.from({ length: 100_000 }, (_, i) => i);
    const { message } = thrown(() => variable({} as Device, f32(...data), "w"));
    assert.match(message, /shape \[0, 1, 2, 3, 4, 5, 6, 7, \.\.\. 99992 more\]/);
    assert.isBelow(message.length, 200);
  });

  it("cut every message, whoever wrote it", () => {
    const { message } = new KernelError("k", "x".repeat(1e6), "a short value");
    assert.isBelow(message.length, 2100);
    assert.match(
      message,
      /^k: got x+ \.\.\. \(\d+ characters left out\) \.\.\. x+; expected a short value\.$/,
    );
  });
});
