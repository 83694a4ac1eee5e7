/** How far the gradient goes back in a segment (`bp_steps`), by finite differences. */
import { assert } from "chai";
import { add, concat, constant, reshape, scale, type Tensor } from "../../engine/index.js";
import { levelUpdates, modelConfig, parameterSpecs, segment, type HrmConfig } from "../../hrm/index.js";
import { testDevice } from "../support/device.js";
import { checkGradients, type Given } from "../support/differences.js";
import { random } from "../support/random.js";

const tiny: HrmConfig = modelConfig({
  batch_size: 2,
  seq_len: 5,
  vocab_size: 4,
  H_cycles: 2,
  L_cycles: 2,
  H_layers: 1,
  L_layers: 1,
  hidden_size: 8,
  num_heads: 2,
  swiglu_multiple: 8,
  pos_encodings: "none",
});

/** Weights are moved in units of a quarter, so that the fifth derivatives of six nested updates stay small. */
const SCALE = 1 / 4;

/**
 * Compares the gradients of a segment with finite differences. The updates before the last `bp_steps` read weights that
 * the differences do not move, so that the differences are those of the truncated gradient.
 */
async function checkSegment(fields: Partial<HrmConfig>): Promise<void> {
  const config = modelConfig({ ...tiny, ...fields });
  const { batch_size: B, seq_len: S, hidden_size: D, bp_steps } = config;
  const early = levelUpdates(config) - bp_steps;
  const given: Record<string, Given> = {};
  const still = new Map<string, Tensor>();
  for (const { name, shape, update, init } of parameterSpecs(config)) {
    if (update !== "adam" || name.includes("embed")) continue;
    const size = shape.reduce((a, b) => a * b, 1);
    const std = "std" in init ? init.std : 0.5;
    const data = random(size, -std, std).map((x) => x / SCALE);
    given[name] = { shape, data };
    still.set(name, scale(constant(data, shape), SCALE));
  }
  const latents = Array.from({ length: 3 }, () => constant(random(B * S * D, -1, 1), [B, S, D]));
  const [zH, zL, embeddings] = latents as [Tensor, Tensor, Tensor];
  // Every L update reads the injection. The test moves the injection only if all L updates carry the gradient.
  const movesInjection = early === 0;
  if (movesInjection) given["injection"] = [B, S, D];
  await checkGradients(await testDevice(), given, (moved) => {
    let updates = 0;
    const parameters = (name: string): Tensor => {
      const value = updates < early ? still.get(name)! : scale(moved[name]!, SCALE);
      // The last weight that a level reads.
      if (name.endsWith("layers.0.mlp.down_proj.weight")) updates++;
      return value;
    };
    const x = movesInjection ? add(embeddings, scale(moved["injection"]!, SCALE)) : embeddings;
    const start = { zH: config.arch === "trm_singlez" ? zL : zH, zL };
    const { logits, qHalt } = segment({ config, parameters, rotary: null }, start, x);
    assert.equal(updates, levelUpdates(config));
    return concat([reshape(logits, [B, -1]), reshape(qHalt, [B, 1])], 1);
  });
}

describe("the gradient of a segment @slow", () => {
  for (const bp_steps of [1, 2, 3, 6])
    it(`goes through the last ${bp_steps} of 6 updates`, () => checkSegment({ bp_steps }));
  it("goes through the whole last cycle of one shared network", () =>
    checkSegment({ arch: "trm", bp_steps: 3 }));
  it("goes through the whole last cycle of a model with one latent", () =>
    checkSegment({ arch: "trm_singlez", bp_steps: 3 }));
  it("goes through a SwiGLU along the sequence", () =>
    checkSegment({ arch: "trm", mlp_t: true, bp_steps: 6 }));
});
