import { assert } from "chai";
import { compareReports, comparisonRows } from "../../bench/core/compare.js";
import {
  parseReport,
  REPORT_VERSION,
  ReportError,
  type Report,
  type Result,
} from "../../bench/core/report.js";
import { quantile, ratioOf, relativeError, summarize } from "../../bench/core/statistics.js";
import { filtered } from "../../bench/core/suite.js";
import { csv, number, stepRows, tableHead, tableRow } from "../../bench/core/table.js";
import { familyOf } from "../../bench/core/training_step.js";

const line: Result = {
  kernel: "matmul",
  variant: "default",
  shape: "small qkv nt 2592x384x128",
  name: "matmul_nt_2592x384x128_r8x8",
  n: 25,
  ms: 100,
  p10: 98,
  p90: 102,
  clock: "timestamp",
  wallMs: 101,
  coldMs: 120,
  repeats: 1,
  gflops: 2.5,
  gbps: 0.1,
  ceilingFraction: 0.3,
  bound: "arithmetic",
  flops: 254803968,
  bytes: 5505024,
  maxError: 1e-7,
  tolerance: 6e-6,
  compared: 2048,
};

const report = (results: readonly Result[]): Report => ({
  version: REPORT_VERSION,
  adapter: {
    name: "some adapter",
    vendor: "vendor",
    architecture: "",
    device: "",
    driver: "1.0",
    backend: "vulkan",
    software: true,
    features: [],
    limits: {},
  },
  environment: {
    date: "2026-01-01T00:00:00.000Z",
    commit: "abc",
    runtime: "Node 20",
    webgpu: "webgpu 0.6.2",
    system: "Linux",
    processors: 2,
    flags: [],
    seed: 1,
  },
  ceilings: {
    fmaF32: 18,
    fmaF16: null,
    copy: 1.3,
    copyBytes: 1 << 24,
    dispatch: 27,
    dependentDispatch: 28,
    submit: 52,
    readback: 147,
  },
  results,
  peers: [],
  skipped: [{ kernel: "matmul", variant: "default", shape: "square nn 4096x4096x4096", reason: "too long" }],
  refused: [],
});

describe("bench statistics", () => {
  it("interpolates quantiles between order statistics", () => {
    const samples = [5, 1, 4, 2, 3];
    assert.equal(quantile(samples, 0.5), 3);
    assert.equal(quantile([1, 2, 3, 4], 0.5), 2.5);
    assert.closeTo(quantile(samples, 0.1), 1.4, 1e-12);
    assert.closeTo(quantile(samples, 0.9), 4.6, 1e-12);
    assert.equal(quantile([7], 0.9), 7);
    assert.deepEqual(samples, [5, 1, 4, 2, 3], "the samples keep their order");
    assert.deepEqual(summarize([2, 2, 2]), { n: 3, median: 2, p10: 2, p90: 2 });
    assert.throws(() => quantile([], 0.5), RangeError);
    assert.throws(() => quantile([1], 1.5), RangeError);
  });

  it("covers the true ratio of medians in about 95% of draws", () => {
    // Normal samples by the central limit of 12 uniforms from a linear congruential generator.
    let state = 12345;
    const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
    const normal = () => Array.from({ length: 12 }, uniform).reduce((a, b) => a + b) - 6;
    const draw = (mean: number) => summarize(Array.from({ length: 30 }, () => mean * (1 + 0.05 * normal())));
    let covered = 0;
    for (let i = 0; i < 2000; i++) {
      const { low, high } = ratioOf(draw(3), draw(2));
      if (low <= 1.5 && 1.5 <= high) covered++;
    }
    assert.isAtLeast(covered, 1800);
    assert.isAtMost(covered, 1980);
  });

  it("claims no certainty from two samples", () => {
    assert.equal(relativeError(summarize([1, 1])), Infinity);
    const { ratio, low, high } = ratioOf(summarize([1, 1]), summarize([2, 2, 2]));
    assert.deepEqual([ratio, low, high], [0.5, 0, Infinity]);
  });
});

describe("bench report", () => {
  it("comes back from JSON, also as the last line of a run's output", () => {
    const whole = report([line]);
    assert.deepEqual(parseReport(JSON.stringify(whole)), whole);
    assert.deepEqual(parseReport(`a table\n${JSON.stringify(whole)}\n`), whole);
  });

  const broken: [string, (r: Record<string, unknown>) => void, RegExp][] = [
    ["another version", (r) => (r["version"] = 99), /version 1, got 99/],
    ["no adapter", (r) => delete r["adapter"], /object adapter/],
    ["a ceiling that is no number", (r) => (r["ceilings"] = { fmaF32: "fast" }), /ceilings\.fmaF32/],
    ["results that are no list", (r) => (r["results"] = {}), /array results/],
    ["a line without a time", (r) => (r["results"] = [{ ...line, ms: null }]), /results\[0\]\.ms/],
    ["a peer without a name", (r) => (r["peers"] = [line]), /peers\[0\]\.peer/],
    ["an omission without a reason", (r) => (r["refused"] = [{ ...line }]), /refused\[0\]\.reason/],
  ];
  for (const [what, spoil, message] of broken) {
    it(`refuses ${what}`, () => {
      const copy = JSON.parse(JSON.stringify(report([line]))) as Record<string, unknown>;
      spoil(copy);
      assert.throws(() => parseReport(JSON.stringify(copy)), ReportError, message);
    });
  }

  it("refuses text that is no JSON", () => {
    assert.throws(() => parseReport("a table\nand no report"), ReportError, /not JSON/);
  });

  it("compares lines of the same name and says which differences are sure", () => {
    const at = (ms: number, shape: string): Result => ({
      ...line,
      ms,
      p10: ms * 0.98,
      p90: ms * 1.02,
      shape,
    });
    const before = report([at(100, "a"), at(100, "b"), at(100, "c"), at(100, "gone")]);
    const now = report([at(50, "a"), at(100.2, "b"), at(200, "c"), at(1, "new")]);
    const found = compareReports(before, now);
    assert.deepEqual(
      found.map(({ shape, verdict }) => [shape, verdict]),
      [
        ["a", "faster"],
        ["b", "same"],
        ["c", "slower"],
      ],
    );
    assert.equal(found[0]!.ratio, 2);
    assert.isBelow(found[0]!.low, 2);
    assert.isAbove(found[0]!.high, 2);
    const other = { ...before, adapter: { ...before.adapter, name: "another adapter" } };
    assert.match(comparisonRows(other, now).join("\n"), /not alike: adapter then another adapter/);
    assert.match(comparisonRows(report([]), now).join("\n"), /nothing in common/);
  });

  it("prints aligned rows, quotes CSV, and rounds to three digits", () => {
    assert.equal(tableRow(line).indexOf("default"), tableHead().indexOf("variant"));
    const text = csv({
      ...report([{ ...line, shape: 'a "b", c' }]),
      peers: [{ ...line, peer: "tfjs" }],
    }).split("\n");
    assert.equal(text.length, 3);
    assert.include(text[1], '"a ""b"", c"');
    assert.equal(text[2]!.split(",").length, text[0]!.split(",").length);
    assert.equal(text[2]!.split(",")[2], "tfjs");
    assert.deepEqual([0, 1234.5, 12.345, 0.012345, 1.2345e-6, 2.5e7, NaN].map(number), [
      "0",
      "1235",
      "12.3",
      "0.0123",
      "1.2e-6",
      "2.5e+7",
      "-",
    ]);
  });

  it("sums up what is small in a step", () => {
    const row = { dispatches: 1, gflops: 1, ceilingFraction: 0.5 };
    const rows = stepRows({
      dispatches: 4,
      jsMs: 1,
      peakBytes: 1 << 20,
      split: [
        { ...row, kernel: "matmul", ms: 99.2, share: 0.992 },
        { ...row, kernel: "pad", ms: 0.5, share: 0.005 },
        { ...row, kernel: "concat", ms: 0.3, share: 0.003 },
      ],
    });
    assert.lengthOf(rows, 3);
    assert.match(rows[2]!, /2 others .* 2 x .*0\.800 ms/);
  });

  it("filters by words of kernel and shape, and takes families from kernel names", () => {
    const named = ["qkv", "o"].map((shape) => ({ ...line, shape: `small ${shape}` }));
    assert.deepEqual(filtered(named, "MATMUL qkv"), [named[0]!]);
    assert.deepEqual(filtered(named, ""), named);
    assert.deepEqual(filtered(named, "attention"), []);
    assert.equal(familyOf("matmul_nt_bias_16x2x32_r1x1"), "matmul_nt_bias");
    assert.equal(familyOf("adam_atan2_ema_6144"), "adam_atan2_ema");
    assert.equal(familyOf("attention_backward_b16_s16_h4_d8"), "attention_backward");
  });
});
