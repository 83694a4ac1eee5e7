import { assert } from "chai";
import {
  formatPercent,
  formatProportion,
  meanOf,
  studentQuantile,
  wilsonInterval,
} from "../../hrm/training/statistics.js";

describe("statistics", () => {
  // Newcombe 1998, table I, method 3 (Wilson without continuity correction).
  const published: [number, number, number, number][] = [
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ];
  for (const [successes, trials, low, high] of published) {
    it(`wilsonInterval(${successes}, ${trials}) is the published [${low}, ${high}]`, () => {
      const interval = wilsonInterval(successes, trials);
      assert.closeTo(interval.low, low, 5e-5);
      assert.closeTo(interval.high, high, 5e-5);
    });
  }

  it("is symmetric, holds the proportion, and ends at 0 and 1 exactly", () => {
    for (const [k, n] of [
      [3, 10],
      [0, 7],
      [7, 7],
      [996, 1024],
    ] as const) {
      const { low, high } = wilsonInterval(k, n);
      const mirrored = wilsonInterval(n - k, n);
      assert.closeTo(low, 1 - mirrored.high, 1e-12);
      assert.isTrue(0 <= low && low <= k / n && k / n <= high && high <= 1);
    }
    assert.equal(wilsonInterval(7, 7).high, 1);
    assert.equal(wilsonInterval(0, 7).low, 0);
    assert.deepEqual(wilsonInterval(0, 0), { low: 0, high: 1 });
  });

  it("refuses counts that are no counts", () => {
    for (const [k, n] of [
      [-1, 3],
      [4, 3],
      [NaN, 3],
      [0, Infinity],
    ] as const) {
      assert.throws(() => wilsonInterval(k, n), RangeError, `${k} of ${n}`);
    }
  });

  it("formats without rounding onto 0% or 100%", () => {
    assert.equal(formatProportion(996, 1024), "97.3% [96.1, 98.1]");
    assert.equal(formatProportion(0, 0), "- [0.0, 100.0]");
    assert.equal(formatPercent(1), "100.0%");
    assert.equal(formatPercent(0.9999), "99.9%");
    assert.equal(formatPercent(0.0001), "0.1%");
    assert.equal(formatPercent(0), "0.0%");
  });

  it("holds 95% of Student's distribution, by numerical integration of its density in float64", () => {
    for (const freedom of [1, 2, 3, 4, 7, 10, 29]) {
      const density = (t: number): number => (1 + t ** 2 / freedom) ** (-(freedom + 1) / 2);
      // t = s / (1 - s) maps [0, 1) to all t >= 0; the midpoint rule never meets the end.
      const half = (to: number): number => {
        const [n, end] = [20000, to / (1 + to)];
        let sum = 0;
        for (let i = 0; i < n; i++) {
          const s = (end * (i + 0.5)) / n;
          sum += density(s / (1 - s)) / (1 - s) ** 2;
        }
        return (sum * end) / n;
      };
      assert.closeTo(half(studentQuantile(freedom)) / half(1e9), 0.95, 1e-6, `${freedom} degrees`);
    }
  });

  it("gives the mean of a single value no spread, and refuses none", () => {
    assert.deepEqual(meanOf([0.25]), { mean: 0.25, deviation: null, interval: null });
    assert.throws(() => meanOf([]), RangeError);
    const { mean, deviation, interval } = meanOf([1, 3]);
    assert.deepEqual([mean, deviation], [2, Math.SQRT2]);
    assert.closeTo(interval!.low + interval!.high, 4, 1e-12);
  });
});
