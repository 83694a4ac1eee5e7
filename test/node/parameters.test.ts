import { assert } from "chai";
import { ConfigError, modelConfig } from "../../hrm/model/config.js";
import { initialState, POSITION_EMBEDDING } from "../../hrm/model/parameters.js";

describe("initial weights", () => {
  const config = modelConfig({ hidden_size: 64, num_heads: 4, seq_len: 36, pos_encodings: "learned" });

  it("scale the learned positions, and nothing else", () => {
    const official = initialState(config, 3);
    const scaled = initialState({ ...config, pos_init_scale: 4 }, 3);
    for (const [name, { data }] of official) {
      const factor = name === POSITION_EMBEDDING ? 4 : 1;
      // A power of two: exact.
      assert.deepEqual(
        [...scaled.get(name)!.data],
        [...data].map((v) => factor * v),
        name,
      );
    }
    const positions = [...official.get(POSITION_EMBEDDING)!.data];
    const deviation = Math.sqrt(positions.reduce((sum, v) => sum + v * v, 0) / positions.length);
    // 2,304 draws: the deviation is known to 1.5% (one standard error); five of them are allowed.
    assert.approximately(deviation, 1 / 8, 0.075 / 8);
  });

  it("refuse a scale that is not positive", () => {
    assert.throws(() => modelConfig({ pos_init_scale: 0 }), ConfigError, "pos_init_scale: got 0");
  });
});
