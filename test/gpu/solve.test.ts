/** `hrm-webgpu/solve` against the solver of the training code, on files as users have them. */
import { assert } from "chai";
import { UsageError } from "../../engine/index.js";
import { decodeCheckpoint, encodeCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { SourceError } from "../../hrm/files/sources/source_error.js";
import { FileFormatError, writeTorch } from "../../hrm/files/index.js";
import { createSolver, createWeights, initialState, type HrmConfig } from "../../hrm/index.js";
import { load, type Answer, type PuzzleModel } from "../../hrm/solve.js";
import { load as loadOfficial } from "../../hrm/solve_official.js";
import { testDevice } from "../support/device.js";
import { rejection } from "../support/rejection.js";
import { haltOnly, official, randomPuzzles } from "../support/tiny.js";

const [raw, ema] = [3, 4];

/** A checkpoint file of random weights: raw ones of seed 3, averages of seed 4. */
function file(config: HrmConfig, task = "a task"): Uint8Array<ArrayBuffer> {
  return encodeCheckpoint({
    config,
    task,
    step: 7,
    seed: 1,
    raw: initialState(config, raw),
    ema: initialState(config, ema),
  });
}

/** Answers of the training code's solver: tokens and q after each segment, for each puzzle. */
async function expected(
  config: HrmConfig,
  which: "raw" | "ema",
  puzzles: readonly Int32Array[],
  segments: number,
) {
  const device = await testDevice();
  const weights = createWeights(device, config, decodeCheckpoint(file(config))[which]!);
  const solver = await createSolver({ device, config, weights });
  const answers = [];
  for (const puzzle of puzzles) answers.push(await solver.solve(puzzle, { segments, identifier: 2 }));
  solver.destroy();
  for (const v of weights.values()) v.destroy();
  return answers;
}

function puzzlesOf(config: HrmConfig, count: number): Int32Array[] {
  const { inputs, length } = randomPuzzles(count, config, 5);
  return Array.from({ length: count }, (_, p) => inputs.slice(p * length, (p + 1) * length));
}

async function loaded(config: HrmConfig, options: object = {}): Promise<PuzzleModel> {
  return load(file(config), { device: await testDevice(), ...options });
}

describe("hrm-webgpu/solve @slow", () => {
  it("answers as the training code's solver does, with averaged or raw weights, alone and in batches", async () => {
    const puzzles = puzzlesOf(official, 3);
    for (const weights of ["ema", "raw"] as const) {
      const all = await expected(official, weights, puzzles, 3);
      const model = await loaded(official, { weights, batch: 2 });
      const seen = new Map<string, Answer>();
      const onSegment = (answer: Answer, segment: number, puzzle: number): void =>
        void seen.set(`${puzzle} ${segment}`, answer);
      const answers = await model.solveAll(puzzles, { segments: 3, identifier: 2, onSegment });
      assert.equal(seen.size, 9);
      for (const [p, segments] of all.entries()) {
        assert.equal(answers[p]!.segments, 3);
        for (const [i, { prediction, qHalt }] of segments.entries()) {
          const { cells, qHalt: q, text } = seen.get(`${p} ${i}`)!;
          assert.deepEqual(cells, prediction, `puzzle ${p}, segment ${i}`);
          // Sums of at most 24 products of numbers of about 1, in another order for another batch.
          assert.closeTo(q, qHalt, 24 * 2 ** -22 * Math.max(1, Math.abs(qHalt)));
          assert.isNull(text);
        }
      }
      const alone = await model.solve(puzzles[1]!, { segments: 3, identifier: 2 });
      assert.deepEqual(alone.cells, answers[1]!.cells);
      model.destroy();
    }
  });

  it("stops each puzzle of a batch at its own segment", async () => {
    const model = await loaded(haltOnly);
    const puzzles = puzzlesOf(haltOnly, 4);
    const q = new Map<number, number[]>();
    await model.solveAll(puzzles, {
      segments: 4,
      onSegment: ({ qHalt }, _, p) => void q.set(p, [...(q.get(p) ?? []), qHalt]),
    });
    const haltAbove = [...q.values()].map(([first]) => first!).sort((a, b) => a - b)[1]!;
    const answers = await model.solveAll(puzzles, { segments: 4, haltAbove });
    for (const [p, values] of q) {
      const at = values.findIndex((value) => value > haltAbove);
      assert.equal(answers[p]!.segments, at < 0 ? 4 : at + 1, `puzzle ${p}`);
    }
    model.destroy();
  });

  it("answers callers that overlap one after the other, and goes on after an abort", async () => {
    const model = await loaded(haltOnly);
    const puzzles = puzzlesOf(haltOnly, 3);
    const alone = [];
    for (const puzzle of puzzles) alone.push(await model.solve(puzzle));
    assert.deepEqual(await Promise.all(puzzles.map((puzzle) => model.solve(puzzle))), alone);
    const reason = new Error("left");
    const controller = new AbortController();
    const solving = model.solve(puzzles[0]!, {
      signal: controller.signal,
      onSegment: () => controller.abort(reason),
    });
    assert.equal(await rejection(solving), reason);
    assert.deepEqual(await model.solve(puzzles[2]!), alone[2]);
    model.destroy();
  });

  it("reads grids as text, and answers in text, if the symbols of the task are known", async () => {
    const config = { ...haltOnly, vocab_size: 6, seq_len: 16 };
    const device = await testDevice();
    const model = await load(file(config, "sudoku4"), { device });
    const { text, cells } = await model.solve("1234\n....\n1000\n___2\n");
    const fromTokens = await model.solve(Int32Array.from([2, 3, 4, 5, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 3]));
    assert.deepEqual(cells, fromTokens.cells);
    assert.equal(text, [...cells].map((token) => ["?", ".", "1", "2", "3", "4"][token]).join(""));
    model.destroy();
  });

  it("refuses what it cannot use, and frees everything", async () => {
    const device = await testDevice();
    const before = device.stats.buffersLive;
    const model = await loaded(haltOnly);
    const puzzle = puzzlesOf(haltOnly, 1)[0]!;
    const cases: [() => Promise<unknown>, RegExp, unknown][] = [
      [() => model.solve([1, 2]), /grid of 2 cells; expected 6/, UsageError],
      [() => model.solve([1, 2, 3, 4, 5, 99]), /token 99 in cell 5/, UsageError],
      [() => model.solve("123456"), /symbols are unknown/, UsageError],
      [() => model.solve(puzzle, { segments: 0 }), /segments = 0/, UsageError],
      [() => model.solve(puzzle, { identifier: 5 }), /identifier 5/, UsageError],
      [() => load(new Uint8Array(10), { device }), /hrm-webgpu\/solve\/official/, FileFormatError],
      [() => loadOfficial(new Uint8Array(10), { device }), /./, FileFormatError],
      [() => load("data:application/octet-stream,abc", { device }), /./, FileFormatError],
      [() => load("http://127.0.0.1:9/test-error", { device }), /127\.0\.0\.1:9\/test-error/, SourceError],
    ];
    for (const [body, message, Class] of cases) {
      const error = await rejection(body());
      assert.instanceOf(error, Class as ErrorConstructor);
      assert.match(error.message, message);
    }
    const reason = new Error("left");
    assert.equal(
      await rejection(load(file(haltOnly), { device, signal: AbortSignal.abort(reason) })),
      reason,
    );
    await model.solve(puzzle);
    model.destroy();
    assert.equal(device.stats.buffersLive, before);
  });

  it("reads weights of the official code by its entry for them, and its own files there, too", async () => {
    const device = await testDevice();
    const puzzle = puzzlesOf(official, 1)[0]!;
    const own = await loaded(official, { weights: "raw" });
    const expected = await own.solve(puzzle);
    const weights = writeTorch(
      [...initialState(official, raw)].map(([name, { data, shape }]) => [
        `model.${name}`,
        { dtype: "F32", shape, data: data as Float32Array<ArrayBuffer> },
      ]),
    );
    for (const source of [weights, file(official)]) {
      const model = await loadOfficial(source, { device, weights: "raw", config: official });
      assert.deepEqual(await model.solve(puzzle), expected);
      model.destroy();
    }
    own.destroy();
  });

  it("reads blobs and addresses", async () => {
    const device = await testDevice();
    const bytes = file(haltOnly);
    const puzzle = puzzlesOf(haltOnly, 1)[0]!;
    const model = await loaded(haltOnly);
    const expected = await model.solve(puzzle);
    const address = URL.createObjectURL(new Blob([bytes]));
    for (const source of [new Blob([bytes]), bytes.buffer, address, new URL(address)]) {
      const other = await load(source, { device });
      assert.deepEqual(await other.solve(puzzle), expected);
      other.destroy();
    }
    URL.revokeObjectURL(address);
    model.destroy();
  });
});
