import { sizesOf } from "../../hrm/model/task_fields.js";
import { assert } from "chai";
import { announcement } from "../../hrm/cli/output/announcement.js";
import { defaultConfig, modelConfig, trainConfig } from "../../hrm/model/config.js";
import { departures } from "../../hrm/training/departures.js";
import { countParameters } from "../../hrm/model/parameters.js";
import { findPreset, presetNames, withPuzzles, type Preset } from "../../hrm/training/presets.js";
import { gridTask, sudokuTask } from "../../hrm/puzzles/index.js";

const sudoku4 = findPreset("sudoku4")!;
const changed = (preset: Preset, fields: Record<string, unknown>): Preset => ({
  ...preset,
  model: modelConfig({
    ...preset.model,
    ...Object.fromEntries(Object.entries(fields).filter(([f]) => f in preset.model)),
  }),
  train: trainConfig({
    ...preset.train,
    ...Object.fromEntries(Object.entries(fields).filter(([f]) => f in preset.train)),
  }),
});
const noSplits = (): never => {
  throw new Error("no splits");
};

describe("departures from the official recipe", () => {
  it("the official configuration has none, whatever the puzzles' sizes", () => {
    const model = modelConfig({
      puzzle_emb_ndim: 512,
      seq_len: 900,
      vocab_size: 6,
      num_puzzle_identifiers: 9,
    });
    assert.deepEqual(departures({ model, train: trainConfig({ total_steps: 5 }) }), []);
    const maze = findPreset("maze-30x30-hard-1k")!;
    assert.deepEqual(departures(maze, maze.recipe), []);
    const extreme = findPreset("sudoku-extreme-1k")!;
    assert.deepEqual(departures(extreme, extreme.recipe), [
      "random images are drawn for every batch instead of beforehand",
    ]);
  });

  it("sudoku4 names each of its own, and those that options take back are gone", () => {
    const all = departures(sudoku4);
    for (const part of [
      /^halt-only ACT/,
      /^exploration probability 1 \(official 0\.1\)$/,
      /^learned positions instead of rotary ones, at first 3 times/,
      /^no puzzle embedding$/,
      /moving average \(EMA\) of the weights, decay 0\.995$/,
      /multiple of 32 \(official 256\)/,
      /^learning rate 4e-3, constant to 30% of the steps, then linear to 10% of the peak \(official: 1e-4, constant\)$/,
      /^lr_warmup_steps 50 \(official 2000\)$/,
      /^weight_decay 0\.5 \(official 0\.1\)$/,
      /^beta1 0\.6 \(official 0\.9\)$/,
      /^beta2 0\.99 \(official 0\.95\)$/,
      /^sizes: hidden_size 32 \(official 512\), .*batch_size 16 \(official 384\)$/,
    ])
      assert.isTrue(
        all.some((line) => part.test(line)),
        `${part} in ${all.join(" | ")}`,
      );
    assert.equal(all.length, 12);
    const official = changed(sudoku4, {
      ...{ halt_only: false, halt_exploration_prob: 0.1, pos_encodings: "rope", swiglu_multiple: 256 },
      ...{ ema_decay: 0, lr: 1e-4, lr_min_ratio: 1, lr_warmup_steps: 2000, weight_decay: 0.1 },
      ...{ beta1: 0.9, beta2: 0.95, puzzle_emb_ndim: 32 },
    });
    const left = departures(official);
    assert.equal(left.length, 1);
    assert.match(left[0]!, /^sizes: /);
  });

  it("names every field that differs, also one without a sentence of its own", () => {
    const fields = {
      ...{
        loss_type: "softmax_cross_entropy",
        rms_norm_eps: 1e-6,
        causal: true,
        beta2: 0.9,
        rope_theta: 500,
      },
      ...{ puzzle_emb_lr: 0.5, puzzle_emb_ndim: 7 },
    };
    const found = departures(changed({ ...sudoku4, model: defaultConfig }, fields)).join("\n");
    for (const field of Object.keys(fields)) assert.match(found, new RegExp(`^${field} `, "m"));
  });
});

describe("departures of positions and gradient", () => {
  it("say what the positions tell the model, what the gradient costs, and how long inference runs", () => {
    const fields = {
      ...{
        ...sizesOf(sudokuTask(9)),
        pos_encodings: "rope2d_boxes",
        hidden_size: 64,
        num_heads: 4,
        bp_steps: 6,
      },
      ...{ inference_segments: 16, staggered_starts: true, halt_max_steps: 8 },
    };
    const found = departures(changed({ ...sudoku4, model: defaultConfig }, fields)).join("\n");
    assert.match(
      found,
      /^rotary positions by row, column and box, which tell the model the houses of a Sudoku,/m,
    );
    assert.match(
      found,
      /^the gradient runs through the last 6 updates of a segment \(official 2\): .*memory/m,
    );
    assert.match(found, /^evaluates and solves with 16 segments, after training with at most 8$/m);
    assert.match(found, /^the rows of the first batch begin at different segments/m);
    assert.notMatch(found, /grid_rows|box_rows/);
  });
});

describe("the announcement of a run", () => {
  it("a preset as it is: its summary, its own parameters, and what is known of it", () => {
    for (const name of presetNames) {
      const preset = findPreset(name)!;
      const lines = announcement({ preset, named: preset, data: null });
      assert.equal(lines[0], `preset    ${name}: ${preset.summary}`);
      assert.include(
        lines.join("\n"),
        `model     ${countParameters(preset.model).toLocaleString("en")} parameters`,
      );
      assert.notMatch(preset.summary, /parameters/, "the configuration that runs tells");
      assert.equal(lines.join().includes("unproven"), preset.status.kind === "unproven");
    }
    const text = announcement({ preset: sudoku4, named: sudoku4, data: null }).join("\n");
    assert.match(text, /27,586 parameters/);
    assert.match(text, /288 solution grids/);
  });

  it("overrides: the fields that changed, and the parameters of what runs", () => {
    const preset = changed(sudoku4, { halt_only: false, swiglu_multiple: 256, lr: 1e-4 });
    const text = announcement({ preset, named: sudoku4, data: null }).join("\n");
    assert.match(text, /^preset {4}sudoku4, .*halt_only false instead of true/);
    assert.include(text, "lr 0.0001 instead of 0.004");
    assert.notInclude(text, "cheapest");
    assert.notInclude(text, "27,586");
    assert.include(text, `${countParameters(preset.model).toLocaleString("en")} parameters`);
    assert.notInclude(text, "halt-only");
  });

  it("other puzzles: parameters of their sizes, and that nothing is augmented", () => {
    const named = findPreset("sudoku9-easy")!;
    const task = gridTask({ rows: 2, columns: 5, vocabSize: 50265 });
    const preset = withPuzzles(named, { task, splitBy: "class", splits: noSplits });
    const text = announcement({ preset, named, data: "words.jsonl" }).join("\n");
    assert.include(text, "preset    sudoku9-easy, on other puzzles than its own");
    assert.include(text, `${countParameters(preset.model).toLocaleString("en")} parameters`);
    assert.notMatch(text, /random images are drawn|unproven|givens/);
    assert.match(
      text,
      /nothing is augmented, although the preset augments: grid-2x5-v50265 has no symmetries/,
    );
    assert.include(text, "puzzles   grid-2x5-v50265 from words.jsonl");

    const four = withPuzzles(named, { task: sudokuTask(4), splitBy: "solution", splits: noSplits });
    const note = announcement({ preset: four, named, data: "four.csv" }).join("\n");
    assert.match(note, /nothing is augmented.*would be among the held-out ones/);
    assert.notMatch(note, /288 solution grids/, "a file's splits say themselves what they share");
  });
});
