import { assert } from "chai";
import { compile, f32, matmul, type Program } from "../../engine/index.js";
import { matmul as matmulKernel } from "../../kernels/matmul/choose.js";
import { testDevice } from "../support/device.js";
import { random } from "../support/random.js";

/** Sizes for which software adapters have a tile that takes long to compile; each test takes its own M. */
const [N, K] = [64, 192];

async function product(M: number): Promise<Program> {
  const inputs = { x: f32(M, K), w: f32(N, K) };
  return compile(await testDevice(), inputs, ({ x, w }) => ({ y: matmul(x, w, { transposeB: true }) }));
}

describe("quick forms of kernels", function () {
  before(async function () {
    const { capabilities } = await testDevice();
    const { quick } = matmulKernel({ layout: "nt", M: 512, N, K }, capabilities);
    // Only SwiftShader takes long enough to compile a matmul.
    if (!quick) {
      console.log("      skipped: this adapter compiles the kernels proper at once");
      this.skip();
    }
    assert.isBelow(
      quick().code.length,
      matmulKernel({ layout: "nt", M: 512, N, K }, capabilities).code.length,
    );
  });

  it("run first, and give what the kernels proper give, to the bit", async () => {
    const { stats } = await testDevice();
    const begun = stats.pipelinesCreated;
    const program = await product(512);
    assert.equal(stats.pipelinesCreated, begun + 1);
    assert.equal(program.quickForms, 1);
    const inputs = { x: random(512 * K), w: random(N * K) };
    const first = (await program.call(inputs))["y"]!;
    await program.finishCompiling();
    assert.equal(stats.pipelinesCreated, begun + 2);
    assert.equal(program.quickForms, 0);
    const again = (await program.call(inputs))["y"]!;
    assert.deepEqual(new Uint32Array(again.buffer), new Uint32Array(first.buffer));
    program.destroy();
  });

  it("give way by themselves in a program that runs often, and are not used if the kernel is compiled", async () => {
    const program = await product(544);
    const inputs = { x: random(544 * K), w: random(N * K) };
    const results: Float32Array[] = [];
    // The change comes when the compiler is through. If it never comes, the test runs into its time limit.
    for (let i = 0; i < 6 || program.quickForms > 0; i++)
      results.push((await program.call(inputs))["y"] as Float32Array);
    assert.equal(program.quickForms, 0);
    for (const result of results) assert.deepEqual(result, results[0]);
    const second = await product(544);
    assert.equal(second.quickForms, 0);
    program.destroy();
    second.destroy();
  });

  it("stay if the program is destroyed before it has run often", async () => {
    const { stats } = await testDevice();
    const program = await product(576);
    const created = stats.pipelinesCreated;
    await program.call({ x: random(576 * K), w: random(N * K) });
    program.destroy();
    await program.finishCompiling();
    assert.equal(stats.pipelinesCreated, created);
  });
});
