/** Principal components, participation ratio, alignment and timescales, against other computations in double precision. */
import { assert } from "chai";
import {
  alignTo,
  eigenvectors,
  participationRatio,
  principalComponents,
  project,
} from "../../hrm/thinking/components.js";
import { stateSpaceOf } from "../../hrm/thinking/state_space.js";
import { autocorrelationTimes, sortedTimes } from "../../hrm/thinking/timescales.js";
import { random, uniform } from "../support/random.js";

/** Points [n, D] of different spread in each direction, mixed, and around a mean that is not zero. */
function cloud(n: number, width: number): Float64Array {
  const mix = random(width * width);
  return Float64Array.from({ length: n * width }, (_, i) => (i % width) / 2).map((shift, i, all) => {
    const row = Math.floor(i / width);
    let sum = shift;
    for (let d = 0; d < width; d++)
      sum += (mix[(i % width) * width + d]! * Math.sin(row * (d + 1.3) + d)) / (1 + d * d);
    return all.length ? sum : 0;
  });
}

describe("state space in double precision", () => {
  for (const [n, width] of [
    [40, 3],
    [200, 17],
    [9, 24],
  ] as const)
    it(`components of ${n} points in ${width} dimensions are orthogonal and have the points' variances`, () => {
      const points = cloud(n, width);
      const components = principalComponents(points, width);
      const { directions, variances, mean } = components;
      for (let a = 0; a < width; a++)
        for (let b = 0; b < width; b++) {
          let dot = 0;
          for (let d = 0; d < width; d++) dot += directions[a * width + d]! * directions[b * width + d]!;
          assert.closeTo(dot, a === b ? 1 : 0, 1e-12);
        }
      const along = project(points, components, width);
      // The variance along each component, and none between two of them.
      for (let a = 0; a < width; a++)
        for (let b = 0; b < width; b++) {
          let product = 0;
          for (let i = 0; i < n; i++) product += (along[i * width + a]! * along[i * width + b]!) / n;
          assert.closeTo(product, a === b ? variances[a]! : 0, 1e-11 * variances[0]!);
        }
      for (let a = 1; a < width; a++) assert.isAtMost(variances[a]!, variances[a - 1]!);
      for (let d = 0; d < width; d++) {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += points[i * width + d]!;
        assert.closeTo(mean[d]!, sum / n, 1e-12);
      }
      // tr(C)^2 / |C|^2 needs no eigenvalues.
      let [trace, squares] = [0, 0];
      for (let a = 0; a < width; a++)
        for (let b = 0; b < width; b++) {
          let c = 0;
          for (let i = 0; i < n; i++)
            c += ((points[i * width + a]! - mean[a]!) * (points[i * width + b]! - mean[b]!)) / n;
          squares += c * c;
          if (a === b) trace += c;
        }
      assert.closeTo(participationRatio(variances), trace ** 2 / squares, 1e-9);
    });

  it("eigenvalues of a matrix that is known", () => {
    const { values, vectors } = eigenvectors([2, 1, 0, 1, 2, 0, 0, 0, 5], 3);
    [5, 3, 1].forEach((value, i) => assert.closeTo(values[i]!, value, 1e-14));
    assert.closeTo(Math.abs(vectors[2]!), 1, 1e-14);
    assert.deepEqual([...eigenvectors([0, 0, 0, 0], 2).values], [0, 0]);
  });

  it("the participation ratio counts equal directions", () => {
    assert.equal(participationRatio([3, 0, 0]), 1);
    assert.equal(participationRatio([2, 2, 2, 2]), 4);
    assert.isNaN(participationRatio([0, 0]));
  });

  for (const mirrored of [false, true])
    it(`turns points back onto where they were${mirrored ? ", also from behind a mirror" : ""}`, () => {
      const points = Float64Array.from({ length: 60 }, () => uniform() - 0.5);
      const [a, b] = [0.7, -1.9];
      const turned = new Float64Array(60);
      for (let i = 0; i < 60; i += 3) {
        const [x, y, z] = [points[i]!, points[i + 1]!, points[i + 2]! * (mirrored ? -1 : 1)];
        const [x1, y1] = [x * Math.cos(a) - y * Math.sin(a), x * Math.sin(a) + y * Math.cos(a)];
        turned.set([x1, y1 * Math.cos(b) - z * Math.sin(b), y1 * Math.sin(b) + z * Math.cos(b)], i);
      }
      alignTo(points, turned, 3).forEach((x, i) => assert.closeTo(x, points[i]!, 1e-10));
    });

  it("turns flat points as well, and keeps their distances", () => {
    const flat = Float64Array.from({ length: 30 }, (_, i) => (i % 3 === 2 ? 0 : uniform()));
    const other = Float64Array.from({ length: 30 }, (_, i) => (i % 3 === 0 ? 0 : uniform()));
    const turned = alignTo(other, flat, 3);
    for (let i = 3; i < 30; i += 3)
      assert.closeTo(
        Math.hypot(turned[i]! - turned[0]!, turned[i + 1]! - turned[1]!, turned[i + 2]! - turned[2]!),
        Math.hypot(flat[i]! - flat[0]!, flat[i + 1]! - flat[1]!),
        1e-10,
      );
  });

  it("autocorrelation times are those of the definition", () => {
    const [updates, series, units] = [24, 3, 4];
    const values = Float32Array.from({ length: updates * series * units }, (_, i) => {
      const [t, unit] = [Math.floor(i / (series * units)), i % units];
      // The last unit rests.
      return unit === 3 ? 0.25 : Math.cos(t / (1 + 3 * unit)) + 0.1 * uniform();
    });
    const times = autocorrelationTimes({ values, series, units });
    for (let unit = 0; unit < 3; unit++) {
      const rho = (lag: number): number => {
        let [covariance, variance] = [0, 0];
        for (let s = 0; s < series; s++) {
          const x = Array.from({ length: updates }, (_, t) => values[(t * series + s) * units + unit]!);
          const m = x.reduce((a, b) => a + b) / updates;
          x.forEach((v, t) => {
            variance += (v - m) ** 2;
            if (t + lag < updates) covariance += (v - m) * (x[t + lag]! - m);
          });
        }
        return covariance / variance;
      };
      let expected = 1;
      for (let lag = 1; lag < updates && rho(lag) > 0; lag++) expected += 2 * rho(lag);
      assert.closeTo(times[unit]!, expected, 1e-9);
    }
    assert.isNaN(times[3]);
    assert.isAbove(times[2]!, times[0]!);
    assert.deepEqual([...sortedTimes(Float64Array.of(3, NaN, 1))], [1, 3]);
    // Signs that alternate: nothing is remembered.
    const flips = Float32Array.from({ length: 8 }, (_, t) => (t % 2 === 0 ? 1 : -1));
    assert.equal(autocorrelationTimes({ values: flips, series: 1, units: 1 })[0], 1);
  });

  it("a second look at the same states is drawn where the first one was", () => {
    const [puzzles, updates, width] = [4, 6, 5];
    const z = (): Float32Array => Float32Array.from(cloud(puzzles * updates, width));
    const states = { puzzles, updates, width, levels: ["L", "H"] as const, right: new Uint8Array(puzzles) };
    const trajectories = { ...states, zL: z(), zH: z() };
    const first = stateSpaceOf(trajectories);
    const flipped = { ...trajectories, zL: trajectories.zL.map((x) => -x) };
    const second = stateSpaceOf(flipped, first);
    second.L.points.forEach((x, i) => assert.closeTo(x, first.L.points[i]!, 1e-5));
    assert.closeTo(second.L.participation, first.L.participation, 1e-9);
    assert.isAtMost(first.L.share, 1 + 1e-12);
  });
});
