import { assert } from "chai";
import {
  add,
  assign,
  compile,
  constant,
  EngineError,
  f32,
  hostTensor,
  i32,
  read,
  u32,
  UsageError,
  variable,
  type TensorSpec,
  type TypedArray,
} from "../../engine/index.js";
import { launch } from "../../engine/launch.js";
import { runKernel } from "../../engine/run_kernel.js";
import type { Kernel } from "../../kernels/core/kernel.js";
import { testDevice } from "../support/device.js";
import { otherRealm } from "../support/platform.js";
import { rejection } from "../support/rejection.js";

/** Values that a host may pass by mistake: 4 elements, or 4 bytes, of every other type. */
const wrong: Record<string, unknown> = {
  Uint8Array: Uint8Array.of(1, 2, 3, 4),
  Uint8ClampedArray: Uint8ClampedArray.of(1, 2, 3, 4),
  Int8Array: Int8Array.of(1, 2, 3, 4),
  Int16Array: Int16Array.of(1, 2, 3, 4),
  Uint16Array: Uint16Array.of(1, 2, 3, 4),
  Float64Array: Float64Array.of(1, 2, 3, 4),
  BigInt64Array: BigInt64Array.of(1n, 2n, 3n, 4n),
  BigUint64Array: BigUint64Array.of(1n, 2n, 3n, 4n),
  DataView: new DataView(new ArrayBuffer(4)),
  ArrayBuffer: new ArrayBuffer(16),
  object: { length: 4, 0: 1, 1: 2, 2: 3, 3: 4 },
  string: "1234",
  null: null,
  undefined: undefined,
};

const copy: Kernel = {
  name: "copy_4",
  code: `@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) { result[i] = a[i]; }`,
  bindings: [
    { name: "a", access: "read", dtype: "f32" },
    { name: "result", access: "read_write", dtype: "f32" },
  ],
  workgroups: [1, 1, 1],
  flops: 0,
  bytes: 32,
};

/** A typed error of one line. */
function assertRefused(error: unknown, what: string): void {
  assert.instanceOf(error, EngineError, what);
  assert.isBelow((error as Error).message.length, 250, what);
}

function assertThrows(body: () => unknown, what: string): void {
  let error: unknown = null;
  try {
    body();
  } catch (caught) {
    error = caught;
  }
  assertRefused(error, what);
}

describe("arrays from the host", () => {
  it("of other element types are refused wherever data comes in", async () => {
    const device = await testDevice();
    const { bytesLive } = device.stats;
    for (const spec of [f32(4), i32(4), u32(4)]) {
      const v = variable(device, spec, "v");
      const program = await compile(device, { x: spec }, ({ x }) => {
        assign(v, x);
        return { y: x };
      });
      for (const [name, value] of Object.entries(wrong)) {
        const what = `${name} for ${spec.dtype}`;
        const data = value as TypedArray;
        assertThrows(() => constant(data), `constant of ${what}`);
        assertThrows(() => constant(data, [4]), `constant [4] of ${what}`);
        assertThrows(() => hostTensor(data, [4]), `hostTensor of ${what}`);
        assertThrows(() => variable(device, { ...spec, data }, "w"), `variable of ${what}`);
        assertThrows(() => variable(device, data as unknown as TensorSpec, "w"), `variable from ${what}`);
        assertThrows(() => v.write(data), `write of ${what}`);
        assertRefused(await rejection(program.run({ x: data })), `run with ${what}`);
        assertRefused(await rejection(program.call({ x: data })), `call with ${what}`);
        const assigning = (): unknown => compile(device, {}, () => assign(v, data as never));
        assertThrows(assigning, `assign of ${what}`);
      }
      assert.deepEqual([...(await v.read())], [0, 0, 0, 0], "nothing was written");
      program.destroy();
      v.destroy();
    }
    assert.equal(device.stats.bytesLive, bytesLive);
  });

  it("of other element types are refused by kernels run by hand", async () => {
    const device = await testDevice();
    const { bytesLive } = device.stats;
    const good = new Float32Array(4);
    for (const name of ["Uint8Array", "Float64Array", "DataView"]) {
      const a = wrong[name] as TypedArray;
      assertRefused(await rejection(runKernel(device, copy, { a, result: good })), name);
      assertRefused(await rejection(launch(device, copy, { a, result: good })), name);
      assertRefused(await rejection(launch(device, copy, { a: good, result: a })), name);
    }
    assert.equal(device.stats.bytesLive, bytesLive, "what was uploaded before is freed");
  });

  it("of another length or dtype are refused", async () => {
    const device = await testDevice();
    const v = variable(device, i32(4), "v");
    for (const data of [new Int32Array(3), new Int32Array(5), new Int32Array(0), new Float32Array(4)]) {
      assertThrows(() => v.write(data), "write");
      assertThrows(() => variable(device, { ...i32(4), data }, "w"), "variable");
    }
    assertThrows(() => hostTensor(new Float32Array(6), [2, 2]), "too many");
    assertThrows(() => hostTensor(new Float32Array(6), [-2, -3]), "negative");
    assertThrows(() => hostTensor(new Float32Array(6), 6 as never), "no list");
    assertThrows(() => constant(new Float32Array(6), [2.5, 2.4]), "fractions");
    assertThrows(() => variable(device, { shape: [2], dtype: "f64" as never }, "w"), "f64");
    assertThrows(() => compile(device, { x: [4] as never }, ({ x }) => ({ y: x })), "a shape without dtype");
    v.destroy();
  });

  it("that are lists hold numbers of f32 only", async () => {
    const device = await testDevice();
    assert.deepEqual([...(await read(device, constant([1, -0.5, Infinity])))], [1, -0.5, Infinity]);
    for (const list of [[1, "2"], [1, undefined], [1n], [[1, 2]], [1e39], [null], [true]])
      assert.throws(() => constant(list as number[]), UsageError, /constant: element \d is/);
  });

  it("come from any thread, from memory that can grow, and from another realm", async () => {
    const device = await testDevice();
    const arrays: TypedArray[] = [];
    if (typeof SharedArrayBuffer !== "undefined") arrays.push(new Float32Array(new SharedArrayBuffer(16)));
    const Growing = ArrayBuffer as unknown as new (n: number, o: object) => ArrayBuffer;
    arrays.push(new Float32Array(new Growing(16, { maxByteLength: 64 })));
    // There, instanceof Float32Array is false.
    const { Float32Array: Foreign } = await otherRealm();
    arrays.push(new Foreign(4));
    assert.isFalse(arrays.at(-1) instanceof Float32Array);
    for (const data of arrays) {
      for (let i = 0; i < 4; i++) data[i] = i + 1;
      const v = variable(device, hostTensor(data, [4]), "v");
      assert.deepEqual([...(await v.read())], [1, 2, 3, 4]);
      v.destroy();
    }
  });

  it("may change after they became a constant", async () => {
    const device = await testDevice();
    const data = Float32Array.of(1, 2);
    const tensor = constant(data);
    data.fill(9);
    assert.deepEqual([...(await read(device, add(tensor, 0)))], [1, 2]);
  });
});
