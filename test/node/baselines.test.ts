/** Baselines as options of the model: their sizes, what they cost, and what they refuse. */
import { assert } from "chai";
import { hrmFlops } from "../../bench/core/hrm_step.js";
import { ConfigError, modelConfig, type HrmConfig } from "../../hrm/model/config.js";
import { countParameters } from "../../hrm/model/parameters.js";
import { departures } from "../../hrm/training/departures.js";
import { runFlops } from "../../hrm/training/memory_estimate.js";
import { findPreset } from "../../hrm/training/presets.js";

const maze7 = findPreset("maze7")!;
const single = { halt_max_steps: 1, inference_segments: 0 } as const;
const BASELINES: Record<string, Partial<HrmConfig>> = {
  hrm: {},
  "one level": { arch: "l_only" },
  "one network for both levels": { arch: "trm" },
  "a transformer of the same size": { arch: "transformer", L_layers: 2, ...single },
  "a transformer of the same depth": { arch: "transformer", L_layers: 6, ...single },
  "one segment": single,
  "the one-step gradient": { bp_steps: 2 },
  "no carry, full ACT": { carry_latents: false, halt_only: false },
  "full ACT of one level": { arch: "l_only", halt_only: false },
};

describe("baselines", () => {
  for (const [name, fields] of Object.entries(BASELINES))
    it(`cost what their products and attentions cost, and little more: ${name}`, () => {
      const config = modelConfig({ ...maze7.model, ...fields });
      const size = 40;
      const cells = (): Int32Array => new Int32Array(size * config.seq_len);
      const data = {
        ...{ count: size, length: config.seq_len, inputs: cells(), labels: cells() },
        identifiers: new Int32Array(size),
      };
      const { step, segment } = runFlops({
        ...{ config, train: maze7.train, data, validation: data, symmetry: maze7.task.symmetry },
      });
      // Besides: the heads and the loss, norms, activations, the sampling of images and the optimizer.
      assert.isAtLeast(step, hrmFlops(config));
      assert.isAtMost(step, 1.08 * hrmFlops(config));
      const forward = hrmFlops({ ...config, batch_size: 1, bp_steps: 0, halt_only: true });
      assert.isAtLeast(segment, forward);
      assert.isAtMost(segment, 1.08 * forward);
    });

  it("have as many parameters as their names say", () => {
    const size = (fields: Partial<HrmConfig>): number =>
      countParameters(modelConfig({ ...maze7.model, ...fields }));
    const whole = size({});
    assert.equal(size(BASELINES["a transformer of the same size"]!), whole);
    assert.equal(size({ arch: "l_only", L_layers: 2 }), whole);
    const layer = whole - size({ arch: "l_only" });
    assert.isAbove(layer, 0);
    assert.equal(size(BASELINES["a transformer of the same depth"]!), whole + 4 * layer);
    assert.equal(size({ carry_latents: false }), whole);
  });

  it("refuse segments that would compute the same again", () => {
    const transformer = { ...maze7.model, ...single, arch: "transformer" } as const;
    assert.throws(
      () => modelConfig({ ...transformer, halt_max_steps: 2 }),
      ConfigError,
      /halt_max_steps: got 2; expected 1 for arch "transformer"/,
    );
    assert.throws(
      () => modelConfig({ ...transformer, inference_segments: 4 }),
      ConfigError,
      /inference_segments: got 4; expected 0 or 1/,
    );
  });

  it("are named among the departures, without fields that they do not read", () => {
    const of = (fields: Partial<HrmConfig>): string[] =>
      departures({ model: modelConfig({ ...maze7.model, ...fields }), train: maze7.train });
    const transformer = of(BASELINES["a transformer of the same depth"]!);
    assert.include(transformer, "arch transformer: no recursion, each layer of the network runs once");
    assert.isFalse(transformer.some((line) => /gradient runs|H_cycles|H_layers/.test(line)));
    assert.include(of({ arch: "l_only" }), "arch l_only: one level alone, whose every update adds the input");
    assert.isTrue(of({ carry_latents: false }).some((line) => line.includes("no latents are carried")));
    assert.isFalse(of({}).some((line) => /arch|carried/.test(line)));
  });
});
