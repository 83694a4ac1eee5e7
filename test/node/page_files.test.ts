/** Files that the page opens: the run of a checkpoint as the page has runs, what weights alone fit, and the work of frames. */
import { expect } from "chai";
import {
  configuredPreset,
  presetRun,
  runOfCheckpoint,
  type RunConfig,
} from "../../docs/playground/run_config.js";
import { openOwn } from "../../docs/playground/worker/own_checkpoint.js";
import { writeSafetensors, type SafetensorsTensor } from "../../hrm/files/index.js";
import { modelConfig, type HrmConfig } from "../../hrm/model/config.js";
import { initialState } from "../../hrm/model/parameters.js";
import { findPreset } from "../../hrm/training/presets.js";
import type { SessionSnapshot } from "../../hrm/training/session.js";
import { frameWork, type TraceEvent } from "../support/frames.js";

/** What a checkpoint of a run has, as far as the page looks at it. */
function checkpointOf(run: RunConfig, change: Partial<SessionSnapshot> = {}) {
  const { model: config, train } = configuredPreset({ ...run, data: "" });
  return {
    task: run.preset,
    run: { config, train, seed: run.seed, ended: null, ...change } as SessionSnapshot,
  };
}

describe("the run of a checkpoint", () => {
  const usual = presetRun("sudoku4");
  const runs: readonly RunConfig[] = [
    usual,
    { ...usual, seed: 7, lr: 0.001, batch: 8, steps: 30 },
    { ...usual, variant: "flat" },
    { ...usual, variant: "one-segment", fields: { H_cycles: 1 } },
    { ...presetRun("maze7"), fields: { bp_steps: 2, weight_decay: 0.25, halt_only: false } },
  ];
  for (const run of runs)
    it(`is the run that was trained: ${run.preset}, ${run.variant}, ${JSON.stringify(run.fields)}`, () => {
      expect(runOfCheckpoint(checkpointOf(run))).to.deep.equal({ run });
    });

  it("cannot go on without a run, its puzzles, its preset, or after its end; the page says which", () => {
    const stuck = (given: Parameters<typeof runOfCheckpoint>[0]): string => runOfCheckpoint(given).stuck!;
    const whole = checkpointOf(usual);
    expect(stuck({ task: "sudoku4" })).to.contain("weights alone");
    expect(stuck({ ...whole, data: "mine.csv" })).to.contain("mine.csv");
    expect(stuck({ ...whole, task: "sudoku-extreme-1k" })).to.contain("sudoku-extreme-1k");
    expect(stuck(checkpointOf(usual, { ended: "last_step" }))).to.contain("ended");
    expect(runOfCheckpoint({ ...whole, task: "grid-2x6-v6", data: "example" }).run?.data).to.equal("example");
  });
});

describe("weights alone", () => {
  const fileOf = (config: HrmConfig): Uint8Array =>
    writeSafetensors(
      [...initialState(config, 1)].map(([name, { shape, data }]): [string, SafetensorsTensor] => [
        name,
        { dtype: "F32", shape, data } as SafetensorsTensor,
      ]),
    );
  const small = { hidden_size: 32, num_heads: 4, H_layers: 1, L_layers: 1, swiglu_multiple: 32 } as const;

  it("are opened at once if they say how many cells a puzzle has", () => {
    const learned = modelConfig({ ...small, seq_len: 16, vocab_size: 6, pos_encodings: "learned" });
    const opened = openOwn(fileOf(learned));
    expect("checkpoint" in opened && opened.checkpoint.task).to.equal("sudoku4");
  });

  it("fit presets of their tokens, those of their width first, and take what their shapes do not tell from the chosen one", () => {
    const { model } = findPreset("sudoku9-easy")!;
    const file = fileOf(model);
    const asked = openOwn(file);
    if (!("presets" in asked)) throw new Error("was opened");
    expect(asked.presets.slice(0, 2)).to.deep.equal(["sudoku9-easy", "sudoku9"]);
    expect(asked.presets)
      .to.include("sudoku-extreme-1k")
      .and.not.include("sudoku9-trm")
      .and.not.include("maze7");
    const opened = openOwn(file, "sudoku9-easy");
    if (!("checkpoint" in opened)) throw new Error("was not opened");
    for (const field of [
      "num_heads",
      "seq_len",
      "H_cycles",
      "pos_encodings",
      "box_rows",
      "inference_segments",
    ] as const)
      expect(opened.checkpoint.config[field], field).to.equal(model[field]);
  });

  it("that fit no preset are refused with what they lack", () => {
    const odd = modelConfig({ ...small, seq_len: 16, vocab_size: 97, pos_encodings: "rope" });
    expect(() => openOwn(fileOf(odd))).to.throw("how many cells");
  });
});

describe("the work of frames", () => {
  it("is the processor time of the tasks since the frame before, on the thread that draws", () => {
    const at = (name: string, ts: number, change: Partial<TraceEvent> = {}): TraceEvent => ({
      ...{ name, ph: name.includes("Render") ? "b" : "X", pid: 1, tid: 2, ts, ...change },
    });
    const events = [
      at("ThreadControllerImpl::RunTask", 0, { tdur: 1000 }),
      at("ThreadControllerImpl::RunTask", 10, { tdur: 500 }),
      at("AnimationFrame::Render", 20),
      at("ThreadControllerImpl::RunTask", 30, { tdur: 4000 }),
      at("ThreadControllerImpl::RunTask", 30, { tdur: 9000, tid: 3 }),
      at("AnimationFrame::Render", 40, { ph: "e" }),
      at("AnimationFrame::Render", 50),
      at("AnimationFrame::Render", 60, { tid: 3 }),
    ];
    expect(frameWork(events)).to.deep.equal([1.5, 4]);
  });
});
