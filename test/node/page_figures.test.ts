/** What the page's figures draw, against plain counts in double precision. */
import { assert } from "chai";
import { residualsOf } from "../../hrm/drawing/residuals.js";
import { accuracyBySegments, stopsOf } from "../../docs/playground/figures/halting_counts.js";
import { boardAt, firstStop } from "../../docs/playground/state/thinking.js";
import { census as taken, models, score, watched } from "../../docs/playground/state/page_state.js";
import { sparklinePoints } from "../../docs/playground/views/sparkline.js";
import type { ModelInfo } from "../../docs/playground/protocol.js";
import { sureness } from "../../docs/playground/views/scrubber.js";
import type { Census } from "../../hrm/thinking/census.js";
import type { Thought } from "../../hrm/thinking/thoughts.js";
import { random, uniform } from "../support/random.js";

describe("the page's figures", () => {
  const [puzzles, segments, limit] = [23, 8, 4];
  const census: Census = {
    ...{ puzzles, segments },
    qHalt: random(puzzles * segments, -2, 1),
    qContinue: random(puzzles * segments, -1, 1),
    right: Uint8Array.from({ length: puzzles * segments }, () => (uniform() < 0.5 ? 1 : 0)),
  };

  for (const haltOnly of [true, false])
    it(`count every puzzle once, at the round after which it stops (${haltOnly ? "q_halt alone" : "both q"})`, () => {
      const stops = stopsOf(census, limit, haltOnly);
      assert.lengthOf(stops, limit);
      const seen = stops.flatMap(({ right, wrong }) => [...right, ...wrong]).sort((a, b) => a - b);
      assert.deepEqual(
        seen,
        Array.from({ length: puzzles }, (_, i) => i),
      );
      for (let puzzle = 0; puzzle < puzzles; puzzle++) {
        // The definition of the paper, read off one segment after the other.
        let at = 0;
        const wants = (s: number): boolean => {
          const q = census.qHalt[puzzle * segments + s]!;
          return haltOnly ? q > 0 : q > census.qContinue[puzzle * segments + s]!;
        };
        while (at < limit - 1 && !wants(at)) at++;
        const kind = census.right[puzzle * segments + at] === 1 ? "right" : "wrong";
        assert.include(stops[at]![kind], puzzle);
      }
    });

  it("have the share of right answers after every number of rounds, beyond the trained ones too", () => {
    const shares = accuracyBySegments(census);
    assert.lengthOf(shares, segments);
    shares.forEach((share, s) => {
      const right = Array.from({ length: puzzles }, (_, i) => census.right[i * segments + s]!);
      assert.closeTo(share, right.reduce((a, b) => a + b, 0) / puzzles, 1e-12);
    });
  });

  const thought: Thought = {
    ...{ length: 2, segments: 2, levels: ["L", "L", "H"], nonFinite: 0 },
    tokens: Int32Array.from({ length: 12 }, (_, i) => i),
    confidence: random(12, 0, 1),
    qHalt: Float32Array.of(5, 5, -1, 5, 5, 0.5),
    qContinue: Float32Array.of(0, 0, 0, 0, 0, 1),
    residuals: Float32Array.of(3, 2, 1, 0, 0.5, 0.25),
  };

  it("plot each level where it moves, and nothing where nothing moved", () => {
    assert.deepEqual(residualsOf(thought, "L"), [3, 2, null, null, 0.5, null]);
    assert.deepEqual(residualsOf(thought, "H"), [null, null, 1, null, null, 0.25]);
  });

  it("draw the share of solved puzzles over the steps, from edge to edge", () => {
    const points = sparklinePoints([100, 250, 500], [0, 0.5, 1]).split(" ");
    assert.deepEqual(points, ["21.2,28.0", "50.0,16.0", "98.0,4.0"]);
  });

  it("count as solved what is right after the trained number of rounds", () => {
    const file = {
      source: "file",
      task: "sudoku4",
      segments: limit,
      held: { count: 0 },
    } as unknown as ModelInfo;
    models.value = { run: null, file };
    watched.value = "file";
    // Puzzle p is right after rounds 1 to p and wrong later, so that those from 4 on are right after round 4.
    const right = Uint8Array.from({ length: puzzles * segments }, (_, i) =>
      i % segments < Math.floor(i / segments) ? 1 : 0,
    );
    const known = { ...census, right };
    taken.value = { source: "file", step: 7, census: known };
    assert.deepEqual(score.value, { solved: puzzles - limit, of: puzzles, step: 7 });
    // Those of another model are not counted.
    taken.value = { source: "run", step: 7, census: known };
    assert.isNull(score.value);
    models.value = { run: null, file: null };
    taken.value = null;
  });

  it("put the flag at the end of the first round after which the model wants to stop", () => {
    assert.equal(firstStop(thought, true), 5);
    assert.equal(firstStop(thought, false), -1);
    assert.equal(firstStop({ ...thought, qHalt: Float32Array.of(0, 0, 2, 0, 0, 0) }, true), 2);
  });

  it("show the board of the update under the scrubber", () => {
    const { tokens, confidence } = boardAt(thought, 4);
    assert.deepEqual([...tokens], [8, 9]);
    assert.deepEqual([...confidence], [...thought.confidence.subarray(8, 10)]);
  });

  it("say how sure the model is as the sigmoid of q_halt", () => {
    for (const q of [-5, -0.3, 0, 1, 7]) assert.closeTo(sureness(q), Math.exp(q) / (1 + Math.exp(q)), 1e-12);
  });
});
