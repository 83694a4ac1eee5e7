import { assert } from "chai";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { compile, f32, mul } from "../../engine/index.js";
import { openTestDevice } from "../support/platform.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Opens a device, uses and destroys it. */
async function cycle(): Promise<WeakRef<object>> {
  const device = await openTestDevice();
  const program = await compile(device, { x: f32(4) }, ({ x }) => ({ y: mul(x, 2) }));
  await program.call({ x: new Float32Array(4) });
  program.destroy();
  device.destroy();
  return new WeakRef(device);
}

describe("destroyed devices", () => {
  it("are not kept by a listener, so that a long process can open many", async () => {
    const devices = [await cycle(), await cycle(), await cycle()];
    for (let i = 0; i < 50 && devices.some((d) => d.deref()); i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      collectGarbage();
    }
    assert.deepEqual(
      devices.map((d) => d.deref() === undefined),
      [true, true, true],
    );
  });
});
