/** The Q values for the Q target, whose last layer computes one position, against those of a whole segment. */
import { assert } from "chai";
import { compile, constant } from "../../engine/index.js";
import {
  derive,
  initialState,
  modelConfig,
  parameterSpecs,
  segment,
  type HrmConfig,
} from "../../hrm/index.js";
import { segmentQ } from "../../hrm/model/model.js";
import { rotaryTables } from "../../hrm/model/model.js";
import { testDevice } from "../support/device.js";
import { random } from "../support/random.js";
import { official } from "../support/tiny.js";

const CASES: Record<string, Partial<HrmConfig>> = {
  "two layers, puzzle prefix": { H_layers: 2 },
  "one level": { arch: "l_only", puzzle_emb_ndim: 0 },
  "an MLP along the sequence": { arch: "trm", L_layers: 2, mlp_t: true, pos_encodings: "none" },
};

describe("the second forward", () => {
  for (const [name, fields] of Object.entries(CASES))
    it(`has the Q values of a whole segment, to the bit: ${name}`, async () => {
      const config = modelConfig({ ...official, H_cycles: 1, ...fields });
      const { batch_size: B, hidden_size: D } = config;
      const { totalLength: L } = derive(config);
      const state = initialState(config, 7);
      const program = await compile(await testDevice(), {}, () => {
        const weights = new Map(
          parameterSpecs(config).map(({ name, shape }) => {
            const data = name.includes("q_head") ? random(shape.reduce((a, b) => a * b, 1)) : undefined;
            return [name, constant(data ?? (state.get(name)!.data as Float32Array), shape)];
          }),
        );
        const model = {
          config,
          parameters: (name: string) => weights.get(name)!,
          rotary: config.mlp_t ? null : rotaryTables(config),
        };
        const z = () => constant(random(B * L * D), [B, L, D]);
        const zL = z();
        const [start, x] = [{ zH: config.arch === "l_only" ? zL : z(), zL }, z()];
        const [whole, own] = [segment(model, start, x), segmentQ(model, start, x)];
        return {
          halt: whole.qHalt,
          goOn: whole.qContinue,
          ownHalt: own.qHalt,
          ownGoOn: own.qContinue,
        };
      });
      await program.run({});
      const read = async (name: "halt" | "goOn" | "ownHalt" | "ownGoOn") => [...(await program.read(name))];
      assert.deepEqual(await read("ownHalt"), await read("halt"));
      assert.deepEqual(await read("ownGoOn"), await read("goOn"));
      assert.equal(new Set(await read("halt")).size, B);
      program.destroy();
    });
});
