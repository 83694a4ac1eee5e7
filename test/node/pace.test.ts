/** Rests between Dawn's polls, on the device that the GPU suites use. */
import { expect } from "chai";
import { promisify } from "node:util";
import { compile, f32, matmul } from "../../engine/index.js";
import { testDevice } from "../support/device.js";

describe("waiting for Dawn", () => {
  it("polls far less often than the event loop turns", async () => {
    const device = await testDevice();
    const n = 256;
    const program = await compile(device, { a: f32(n, n) }, ({ a }) => ({ c: matmul(a, a) }));
    const inner = globalThis.setImmediate;
    let polls = 0;
    globalThis.setImmediate = new Proxy(inner, {
      apply(target, self, args: unknown[]): unknown {
        polls++;
        return Reflect.apply(target, self, args);
      },
    });
    const start = performance.now();
    try {
      const a = new Float32Array(n * n).fill(1);
      while (performance.now() - start < 250) await program.run({ a });
      await device.idle();
    } finally {
      globalThis.setImmediate = inner;
      program.destroy();
    }
    expect(polls, "polls seen").to.be.above(10);
    // Unpaced, some ten or more in a millisecond.
    expect(polls / (performance.now() - start), "polls a millisecond").to.be.below(5);
  });

  it("leaves every other use of setImmediate as it was", async () => {
    await testDevice();
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect(await promisify(setImmediate)("value")).to.equal("value");
    expect(await new Promise((resolve) => setImmediate((a, b) => resolve([a, b]), 1, 2))).to.deep.equal([
      1, 2,
    ]);
    let ran = false;
    clearImmediate(setImmediate(() => (ran = true)));
    await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(ran).to.equal(false);
  });
});
