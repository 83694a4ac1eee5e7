/** Fusion of long chains: kernels of bounded length, and effort in proportion to the graph. Counted, not timed. */
import { assert } from "chai";
import {
  add,
  baselineCapabilities,
  exp,
  f32,
  grad,
  mul,
  neg,
  plan,
  sum,
  type Device,
  type Plan,
  type Tensor,
} from "../../engine/index.js";
import type { Node } from "../../engine/tensor.js";
import { fuse, reachableNodes, type FusionEffort } from "../../engine/compiler/fuse.js";
import { compile } from "../../engine/index.js";
import { sin } from "../../engine/operations.js";
import { testDevice } from "../support/device.js";

const STEP = 1 / 64;

/** Euler's method for y' = sin(3 y) + y / 10. */
function euler(y: Tensor, steps: number): Tensor {
  for (let i = 0; i < steps; i++) y = add(y, mul(add(sin(mul(y, 3)), mul(y, 0.1)), STEP));
  return y;
}

function planned(device: Device, steps: number): { plan: Plan; effort: FusionEffort } {
  const effort = { searched: 0 };
  const result = plan(device, { y: f32(256) }, ({ y }) => {
    const slope = grad(sum(euler(y, steps)), y);
    fuse(
      reachableNodes([slope]),
      new Set([slope]),
      { maxStorageBuffersPerShaderStage: 8, software: true },
      effort,
    );
    return { slope };
  });
  return { plan: result, effort };
}

describe("fusion of a chain of Euler steps with its gradient", () => {
  it("gives kernels of bounded text, whose number and whose effort grow with the chain @slow", async () => {
    const device = await testDevice();
    const [short, long] = [planned(device, 75), planned(device, 300)];
    const texts = long.plan.dispatches.map(({ kernel }) => kernel.code.length);
    // 96 operations of at most 100 characters, and the functions that they call.
    assert.isBelow(Math.max(...texts), 12_000);
    const total = ({ plan }: { plan: Plan }): number =>
      plan.dispatches.reduce((sum, { kernel }) => sum + kernel.code.length, 0);
    // Four times the chain: at most five times the work, where a square would be sixteen times.
    assert.isBelow(long.plan.dispatches.length, 5 * short.plan.dispatches.length);
    assert.isBelow(total(long), 5 * total(short));
    assert.isBelow(long.effort.searched, 5 * short.effort.searched);
    // Still fused: fewer dispatches than a quarter of the operations.
    assert.isBelow(long.plan.dispatches.length, (300 * 10) / 4);
  });

  it("computes what the chain says, and its gradient", async () => {
    const device = await testDevice();
    const steps = 40;
    const program = await compile(device, { y: f32(3) }, ({ y }) => {
      const end = euler(y, steps);
      return { end, slope: grad(sum(end), y) };
    });
    const start = Float32Array.of(-0.4, 0.1, 0.9);
    const { end, slope } = await program.call({ y: start });
    start.forEach((y0, i) => {
      let [y, dy] = [y0, 1];
      for (let k = 0; k < steps; k++) {
        dy *= 1 + STEP * (3 * Math.cos(3 * y) + 0.1);
        y += STEP * (Math.sin(3 * y) + 0.1 * y);
      }
      // Each step rounds a few times, and may enlarge errors so far by at most 1 + 3.1 / 64: 7 times over all steps.
      assert.closeTo(end[i]!, y, 7 * steps * 4 * 2 ** -24);
      assert.closeTo(slope[i]!, dy, Math.max(1, Math.abs(dy)) * 7 * steps * 16 * 2 ** -24);
    });
    program.destroy();
  });
});

describe("fusion of operations that need each other's units", () => {
  it("keeps an operation out of a unit whose results it needs through a unit with an older member", () => {
    const { graph } = plan(
      { capabilities: baselineCapabilities },
      { x: f32(3, 3), y: f32(3, 1) },
      ({ x, y }) => {
        const older = exp(x);
        const total = sum(older, { axes: [1], keepDims: true });
        const first = neg(y);
        // This joins the unit of `older`, so that `total` needs `first`.
        const younger = add(older, first);
        return { younger, last: mul(first, total) };
      },
    );
    const known = new Set<Node>();
    for (const { nodes } of graph.fused) {
      for (const node of nodes) known.add(node);
      for (const { inputs } of nodes)
        for (const { node } of inputs)
          assert(node.operation.kind === "source" || known.has(node), `${node.operation.name} comes later`);
    }
  });
});
