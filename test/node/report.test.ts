import { assert } from "chai";
import { createWeights, initialState, modelConfig, type PuzzleSet } from "../../hrm/index.js";
import { boardAsSvg } from "../../hrm/drawing/board_svg.js";
import { sizesOf } from "../../hrm/model/task_fields.js";
import { generateSudoku, puzzleSet, sudokuTask } from "../../hrm/puzzles/index.js";
import { computeFigures, type Figures } from "../../hrm/report/figures.js";
import { differences, reportData, reportPage, type ReportRun } from "../../hrm/report/page.js";
import { createCensus, rightAfter } from "../../hrm/thinking/census.js";
import { covariance, eigenvectors } from "../../hrm/thinking/components.js";
import { createThinker } from "../../hrm/thinking/thoughts.js";
import { createRecorder } from "../../hrm/thinking/trajectories.js";
import { testDevice } from "../support/device.js";
import { rejection } from "../support/rejection.js";

const task = sudokuTask(4);
const config = modelConfig({
  ...{
    ...sizesOf(task),
    batch_size: 4,
    hidden_size: 8,
    num_heads: 2,
    swiglu_multiple: 8,
    H_layers: 1,
    L_layers: 1,
  },
  ...{ H_cycles: 1, L_cycles: 2, halt_max_steps: 2, halt_only: true },
});
const state = initialState(config, 4);
const data: PuzzleSet = puzzleSet(generateSudoku({ size: 4, count: 8, seed: 1 }), 16);
const amounts = { limit: 6, examples: 2, followed: 4, seed: 9 };

describe("a report", () => {
  let figures: Figures;
  let run: ReportRun;
  const said: string[] = [];
  before(async function () {
    this.timeout(60_000);
    const device = await testDevice();
    figures = await computeFigures({
      device,
      config,
      state,
      data,
      ...amounts,
      onProgress: (what) => said.push(what),
    });
    run = {
      ...{ name: "a <run>", task, fields: { seed: 1, lr: 0.1 }, about: "of & by", figures },
      curves: {
        loss: { step: [1, 2], value: [3, 2] },
        exact: { step: [2], value: [0.5] },
        cells: { step: [2], value: [0.75] },
      },
      test: { count: 8, exactAccuracy: 0.25 },
    };
  });

  it("holds what thinker, census and recorder compute, and frees what it makes", async () => {
    const device = await testDevice();
    const live = device.stats.bytesLive;
    const weights = createWeights(device, config, state);
    const thinker = await createThinker({ device, config, weights });
    const thought = await thinker.think(data.inputs.slice(16, 32));
    assert.deepEqual(figures.examples[1]!.thought, thought);
    const censor = await createCensus({ device, config, weights, data, segments: 4 });
    const { puzzles, right, trained } = figures.accuracy;
    assert.deepEqual([puzzles, trained], [6, 2]);
    assert.deepEqual(right, [...rightAfter(await censor.take(6))]);
    const four = {
      ...data,
      count: 4,
      inputs: data.inputs.slice(0, 64),
      labels: data.labels.slice(0, 64),
      identifiers: data.identifiers.slice(0, 4),
    };
    const recorder = await createRecorder({ device, config, weights, data: four });
    const { zH, updates } = await recorder.record();
    assert.deepEqual([figures.states.puzzles, figures.states.updates], [4, updates]);
    // The participation ratio by its definition in double precision.
    const { values } = eigenvectors(covariance(zH, 8).matrix, 8);
    const [sum, squares] = [values.reduce((a, b) => a + b, 0), values.reduce((a, b) => a + b * b, 0)];
    assert.closeTo(figures.states.trained.H.participation, sum ** 2 / squares, 1e-9);
    assert.notEqual(figures.states.untrained.H.participation, figures.states.trained.H.participation);
    for (const one of [thinker, censor, recorder, ...weights.values()]) one.destroy();
    assert.equal(device.stats.bytesLive, live);
    assert.lengthOf(said, 4);
  });

  it("gives up if its progress callback throws, and frees everything", async () => {
    const device = await testDevice();
    const live = device.stats.bytesLive;
    const stop = new Error("stop");
    const onProgress = (what: string): void => {
      if (what !== "examples") throw stop;
    };
    assert.equal(
      await rejection(computeFigures({ device, config, state, data, ...amounts, onProgress })),
      stop,
    );
    assert.equal(device.stats.bytesLive, live);
  });

  it("is one file without an address or a program, and holds its numbers as they were computed", () => {
    const page = reportPage([run, { ...run, name: "b", fields: { seed: 2, lr: 0.1 } }], "A & B");
    assert.notMatch(page, /https?:|\bsrc=|\bhref=|url\(|@import|<link|xmlns/);
    assert.equal(page.match(/<script/g)!.length, 1);
    assert.include(page, "<h2>a &lt;run></h2>");
    const json = /<script type="application\/json" id="data">(.*)<\/script>/.exec(page)![1]!;
    const [first] = JSON.parse(json) as {
      examples: { residuals: number[]; tokens: number[] }[];
      accuracy: unknown;
    }[];
    assert.deepEqual(
      JSON.parse(json),
      JSON.parse(JSON.stringify(reportData([run, { ...run, name: "b", fields: { seed: 2, lr: 0.1 } }]))),
    );
    assert.deepEqual(first!.examples[0]!.residuals, [...figures.examples[0]!.thought.residuals]);
    assert.deepEqual(first!.examples[0]!.tokens, [...figures.examples[0]!.thought.tokens]);
    assert.deepEqual(first!.accuracy, { ...figures.accuracy });
    // Runs differ in the seed alone, which is the one column between name and scores.
    assert.deepEqual(differences([{ fields: { seed: 1, lr: 1 } }, { fields: { seed: 2, lr: 1 } }]), ["seed"]);
    assert.include(page, "<th>run</th><th>seed</th><th>best look, exact</th>");
  });

  it("gives mean and spread of runs that differ in their seeds alone", () => {
    const seeds = [0.25, 0.5, 0.75].map((exactAccuracy, seed) => ({
      ...{ ...run, name: `s${seed}`, fields: { seed, lr: 0.1 }, test: { count: 8, exactAccuracy } },
    }));
    const page = reportPage([...seeds, { ...run, name: "other", fields: { seed: 0, lr: 1 } }], "A");
    // Standard deviation 0.25; the interval of the mean is 0.5 +- 4.303 x 0.25 / sqrt(3).
    assert.include(page, "<td>s0, s1, s2</td><td>50.0%</td><td>25.0</td><td>[0.0, 100.0]</td>");
    assert.notInclude(reportPage([run, { ...run, fields: { seed: 1, lr: 0.2 } }], "A"), "seeds alone");
  });

  it("keeps a name that would end its data early", () => {
    const name = "</script><b>";
    const page = reportPage([{ ...run, name, fields: { note: "</script>" } }], "A");
    assert.equal(page.match(/<\/script>/g)!.length, 1);
    const json = /id="data">(.*)<\/script>/.exec(page)![1]!;
    const [first] = JSON.parse(json) as { name: string; fields: { note: string } }[];
    assert.deepEqual([first!.name, first!.fields.note], [name, "</script>"]);
  });

  it("draws the accuracy after each segment if it is known", () => {
    const page = reportPage([run], "A");
    const chart = page.slice(page.indexOf("(paper, fig. 5)"));
    const points = / points="([^"]*)"/
      .exec(chart)![1]!
      .split(" ")
      .map((pair) => pair.split(",").map(Number));
    const shares = figures.accuracy.right.map((right) => right / figures.accuracy.puzzles);
    assert.lengthOf(points, 4);
    const top = Math.max(...shares, 1e-9);
    // The plot is 310 high from 40 on; the axis begins at 0.
    points.forEach(([, y], s) => assert.closeTo((350 - y!) / 310, shares[s]! / top, 0.01));
  });

  it("draws each update of the first example, with the tokens of its board", () => {
    const { inputs, thought } = figures.examples[0]!;
    const page = reportPage([run], "A");
    const decoded = page.slice(page.indexOf("Decoded steps"), page.indexOf("Forward residuals"));
    assert.equal(decoded.match(/<svg/g)!.length, thought.segments * thought.levels.length);
    const tokens = thought.tokens.slice(16, 32);
    const drawing = boardAsSvg({
      task,
      inputs,
      tokens,
      before: thought.tokens.slice(0, 16),
      label: "after update 2, of L",
    });
    assert.include(decoded, drawing);
    const texts = [...drawing.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text);
    assert.deepEqual(
      texts,
      [...tokens].filter((t) => t > 1).map((t) => task.vocabulary()![t]!),
    );
  });
});
