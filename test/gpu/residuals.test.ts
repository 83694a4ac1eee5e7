import { assert } from "chai";
import { compile, i32, type Tensor } from "../../engine/index.js";
import {
  createCarry,
  createSolver,
  createWeights,
  destroyCarry,
  evaluationSegment,
  forwardResiduals,
  initialState,
  modelConfig,
  modelOf,
} from "../../hrm/index.js";
import { testDevice } from "../support/device.js";
import { randomIntegers } from "../support/random.js";

describe("forward residuals", () => {
  const CYCLES = [
    [1, 1],
    [2, 3],
  ] as const;
  for (const [H_cycles, L_cycles] of CYCLES) {
    it(`are the mean norms of the change by each update, ${H_cycles}x${L_cycles} cycles`, async () => {
      const device = await testDevice();
      const [B, S, D] = [2, 5, 8];
      const config = modelConfig({
        ...{ batch_size: B, seq_len: S, vocab_size: 6, hidden_size: D, num_heads: 2, swiglu_multiple: 8 },
        ...{ H_layers: 1, L_layers: 1, halt_max_steps: 4, H_cycles, L_cycles },
      });
      const weights = createWeights(device, config, initialState(config, 5));
      const carry = createCarry(device, config);
      const program = await compile(
        device,
        { inputs: i32(B, S), labels: i32(B, S), identifiers: i32(B) },
        (batch): Record<string, Tensor> => {
          const { start, segment } = evaluationSegment(modelOf(config, weights), carry, batch, 100);
          const { L, H } = segment.trace;
          return {
            residuals: forwardResiduals(start, segment),
            ...Object.fromEntries([start.zL, ...L].map((t, i): [string, Tensor] => [`L${i}`, t])),
            ...Object.fromEntries([start.zH, ...H].map((t, i): [string, Tensor] => [`H${i}`, t])),
          };
        },
      );
      const batch = {
        inputs: randomIntegers(B * S, 1, 6),
        labels: new Int32Array(B * S),
        identifiers: new Int32Array(B),
      };
      const expected = async (level: "L" | "H", update: number, row: number): Promise<number> => {
        const [from, to] = [
          await program.read(`${level}${update}`),
          await program.read(`${level}${update + 1}`),
        ];
        let total = 0;
        for (let s = 0; s < S; s++) {
          let squares = 0;
          for (let d = 0; d < D; d++)
            squares += (to[(row * S + s) * D + d]! - from[(row * S + s) * D + d]!) ** 2;
          total += Math.sqrt(squares);
        }
        return total / S;
      };
      // The first segment starts from the initial state, the second from where the first ended.
      for (let segment = 0; segment < 2; segment++) {
        await program.run(batch);
        const got = await program.read("residuals");
        const updates = H_cycles * (L_cycles + 1);
        assert.equal(got.length, B * updates);
        for (let row = 0; row < B; row++)
          for (let i = 0; i < updates; i++) {
            const [cycle, l] = [Math.floor(i / (L_cycles + 1)), i % (L_cycles + 1)];
            const want = await (l < L_cycles
              ? expected("L", cycle * L_cycles + l, row)
              : expected("H", cycle, row));
            assert.isAbove(want, 0);
            // Sums of 8 and 5 numbers of size 1 in f32, and one square root.
            assert.closeTo(got[row * updates + i]!, want, 1e-5 * want, `segment ${segment}, update ${i}`);
          }
      }
      const solver = await createSolver({ device, config, weights });
      const [first, second] = await solver.solve(batch.inputs.slice(0, S), { segments: 2 });
      assert.equal(first!.residuals.length, H_cycles * (L_cycles + 1));
      assert.notDeepEqual([...second!.residuals], [...first!.residuals]);
      const alone = await program.read("residuals");
      second!.residuals.forEach((value, i) => assert.closeTo(value, alone[i]!, 1e-4 * alone[i]!));
      solver.destroy();
      program.destroy();
      destroyCarry(carry);
      for (const v of weights.values()) v.destroy();
    });
  }
});
