/** State dicts of TRM: what their names and shapes tell, and the same tensors after a way through a file. */
import { assert } from "chai";
import { initialState, modelConfig, type HrmConfig } from "../../hrm/index.js";
import { openCheckpoint, OFFICIAL_PREFIX } from "../../hrm/files/checkpoints/official.js";
import { writeSafetensors } from "../../hrm/files/index.js";

/** The state dict of a configuration as a safetensors file under the names that the official code saves. */
function stateDict(config: HrmConfig): Uint8Array {
  const entries = [...initialState(config, 3)].map(([name, { shape, data }]) => {
    const tensor = { dtype: "F32", shape, data: data as Float32Array } as const;
    return [OFFICIAL_PREFIX + name, tensor] as const;
  });
  return writeSafetensors(entries, {});
}

const trm: HrmConfig = modelConfig({
  arch: "trm",
  batch_size: 384,
  seq_len: 16,
  vocab_size: 6,
  puzzle_emb_ndim: 32,
  num_puzzle_identifiers: 3,
  puzzle_emb_len: 16,
  hidden_size: 32,
  num_heads: 1,
  L_layers: 2,
  H_cycles: 3,
  L_cycles: 6,
  bp_steps: 7,
  halt_only: true,
});

const VARIANTS: readonly (readonly [what: string, config: HrmConfig, assumed: readonly string[]])[] = [
  ["attention", trm, ["puzzle_emb_len", "pos_encodings", "rope_theta", "causal", "rms_norm_eps"]],
  [
    "an MLP along the sequence",
    modelConfig({ ...trm, mlp_t: true, pos_encodings: "none" }),
    ["puzzle_emb_len", "rms_norm_eps"],
  ],
  ["one latent", modelConfig({ ...trm, arch: "trm_singlez" }), ["puzzle_emb_len", "pos_encodings"]],
  ["learned positions", modelConfig({ ...trm, pos_encodings: "learned" }), ["puzzle_emb_len"]],
  [
    "no puzzle embedding",
    modelConfig({
      ...trm,
      ...{ mlp_t: true, pos_encodings: "none" },
      ...{ puzzle_emb_ndim: 0, puzzle_emb_len: 0, num_puzzle_identifiers: 1 },
    }),
    ["rms_norm_eps"],
  ],
  ["small inner sizes", modelConfig({ ...trm, mlp_t: true, pos_encodings: "none", swiglu_multiple: 32 }), []],
];

describe("a state dict of TRM", () => {
  for (const [what, config, assumed] of VARIANTS)
    it(`tells its configuration: ${what}`, () => {
      const opened = openCheckpoint(stateDict(config), {
        config: { seq_len: config.seq_len, num_heads: 1 },
        task: "sudoku4",
      });
      assert.deepEqual(opened.checkpoint.config, config);
      assert.includeMembers([...opened.assumed], [...assumed]);
      if (config.puzzle_emb_ndim === 0) assert.notInclude(opened.assumed, "puzzle_emb_len");
      assert.deepEqual(opened.checkpoint.raw, new Map(initialState(config, 3)));
    });

  it("tells the cells of a puzzle by the official prefix of 16 positions", () => {
    const { checkpoint } = openCheckpoint(stateDict(VARIANTS[1]![1]), { task: "sudoku4" });
    assert.equal(checkpoint.config.seq_len, 16);
  });

  it("derives the prefix from the cells, if both do not fit 16 positions", () => {
    const other = modelConfig({ ...trm, mlp_t: true, pos_encodings: "none", puzzle_emb_len: 4 });
    const { checkpoint } = openCheckpoint(stateDict(other), { config: { seq_len: 16, num_heads: 1 } });
    assert.equal(checkpoint.config.puzzle_emb_len, 4);
    assert.equal(checkpoint.task, "sudoku4");
  });

  it("refuses options that contradict its names", () => {
    assert.throws(
      () => openCheckpoint(stateDict(trm), { config: { arch: "hrm" } }),
      /arch: got "hrm"; expected "trm"/,
    );
    assert.throws(
      () => openCheckpoint(stateDict(trm), { config: { mlp_t: true } }),
      /mlp_t: got true; expected false/,
    );
  });
});
