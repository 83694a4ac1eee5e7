import { assert } from "chai";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseReport } from "../../bench/core/report.js";
import { loadKernelCases } from "../../bench/user_kernel.js";
import { ArgumentError } from "../../hrm/terminal/arguments.js";

const EXAMPLE = "bench/examples/rms_norm.ts";

function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((done) =>
    // No interpreter has PyTorch here.
    execFile(
      process.execPath,
      ["build/bench/main.js", ...args],
      { env: { ...process.env, PYTHON: "false" } },
      (error, stdout, stderr) => done({ code: error ? Number(error.code) : 0, stdout, stderr }),
    ),
  );
}

describe("npm run bench @slow", () => {
  let folder: string;
  before(async () => {
    const config = (await import(pathToFileURL(resolve("esbuild.config.mjs")).href)) as {
      build(names: string[]): Promise<void>;
    };
    await config.build(["bench"]);
    folder = await mkdtemp(join(tmpdir(), "bench-test-"));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it("prints help and names, and exits 2 for what it cannot take", async () => {
    const help = await bench("--help");
    assert.equal(help.code, 0);
    assert.match(help.stdout, /--compare <old\.json>/);
    const list = await bench("--list", "--quick", "--filter", "attention_backward small");
    assert.equal(list.stdout, "attention_backward small B32 S81 H4 D32\n");
    const wrong: [string[], RegExp][] = [
      [["--fastest"], /unknown option/],
      [["--filter", "no such kernel"], /no line of the suite matches/],
      [["--compare", "missing.json"], /cannot read "missing\.json"/],
      [["--compare", "package.json"], /no benchmark report/],
      [["--kernel", "missing.ts"], /expected a TypeScript/],
      [["--budget", "-1"], /at least 0/],
    ];
    for (const [args, message] of wrong) {
      const { code, stdout, stderr } = await bench(...args);
      assert.equal(code, 2, `${args.join(" ")}: ${stderr}`);
      assert.match(stderr, message);
      assert.equal(stdout, "");
    }
  });

  it("runs without the peers that cannot be opened, and says why", async () => {
    const { code, stdout, stderr } = await bench(
      ...["--peers", "--quick", "--adapter", "software", "--json"],
      ...["--filter", "matmul odd nn"],
    );
    assert.equal(code, 0, stderr);
    const report = parseReport(stdout.trimEnd().split("\n").at(-1)!);
    assert.isNotEmpty(report.results);
    assert.isTrue(
      report.skipped.some(({ variant, reason }) => variant === "PyTorch" && reason.includes("false ended")),
    );
  });

  it("checks and times a kernel beside ours and the custom operation of the guide, and compares two runs", async () => {
    // The kernel file of the guide, as it stands there.
    const guide = await readFile("docs/guides/custom-operation.md", "utf8");
    await writeFile(join(folder, "gated.ts"), /^```ts\n(\/\/ gated\.ts\n[^]*?)^```/m.exec(guide)![1]!);
    const both = join(folder, "both.ts");
    await writeFile(
      both,
      `import example from ${JSON.stringify(resolve(EXAMPLE))};
       import gated from "./gated.js";
       export default [example, gated];`,
    );
    const args = ["--quick", "--adapter", "software", "--kernel", both];
    const first = await bench(...args, "--json");
    assert.equal(first.code, 0, first.stderr);
    const report = parseReport(first.stdout);
    assert.deepEqual(
      report.results.map(({ kernel, variant, shape }) => [kernel, variant, shape]),
      [
        ["rms_norm", "ours", "2592x128"],
        ["rms_norm", "mine", "2592x128"],
        ["gated", "mine", "1024x512 1024x512"],
      ],
    );
    for (const r of report.results) {
      assert.isAbove(r.ms, 0);
      assert.isTrue(r.p10 <= r.ms && r.ms <= r.p90);
      assert.isTrue(r.maxError <= r.tolerance);
      // 256 elements of each result; rms_norm has two.
      assert.isAtLeast(r.compared, r.kernel === "gated" ? 256 : 512);
      assert.closeTo(r.ceilingFraction, r.bytes / report.ceilings.copy / 1e6 / r.ms, 1e-9);
      assert.closeTo(r.gflops, r.flops / r.ms / 1e6, 1e-9);
    }
    assert.isTrue(report.adapter.software);
    assert.match(report.environment.runtime, /^Node/);
    const old = join(folder, "old.json");
    await writeFile(old, first.stdout);
    const second = await bench(...args, "--csv", "--compare", old);
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stdout, /rms_norm,mine,2592x128/);
    assert.match(second.stdout, /time then \/ time now/);
    assert.match(second.stdout, /rms_norm +2592x128 +mine .* -> .* \[/);
  });

  it("refuses a kernel with a wrong result and exits 1", async () => {
    const file = join(folder, "wrong.ts");
    await writeFile(
      file,
      `import example from ${JSON.stringify(resolve(EXAMPLE))};
       export default { ...example, alternatives: (c) => example.alternatives(c).map((a) => a.variant === "ours" ? a
         : { ...a, kernel: { ...a.kernel, code: a.kernel.code.replace("* r;", "* r * 1.001;") } }) };`,
    );
    const { code, stdout, stderr } = await bench(
      "--quick",
      "--adapter",
      "software",
      "--json",
      "--kernel",
      file,
    );
    assert.equal(code, 1);
    assert.match(stderr, /WRONG RESULT, not timed: .*rms_norm 2592x128 \(mine\)/);
    const { results, refused } = parseReport(stdout);
    assert.deepEqual(
      results.map((r) => r.variant),
      ["ours"],
    );
    assert.match(refused[0]!.reason, /y\[0\] = .*; expected/);
  });

  it("names what a kernel file lacks", async () => {
    const file = join(folder, "lacks.ts");
    await writeFile(file, "export default { kernel: 'mine', shape: '4' };");
    await loadKernelCases(file).then(
      () => assert.fail("loaded"),
      (error: Error) => {
        assert.instanceOf(error, ArgumentError);
        assert.match(error.message, /"flops" is undefined/);
      },
    );
    await writeFile(file, "export default { operation: {}, inputs: {} };");
    await loadKernelCases(file).then(
      () => assert.fail("loaded"),
      (error: Error) => assert.match(error.message, /custom operation whose "reference" is undefined/),
    );
    await writeFile(file, "export const nothing = 1;");
    await loadKernelCases(file).then(
      () => assert.fail("loaded"),
      (error: Error) => assert.match(error.message, /exports nothing by default/),
    );
  });
});
