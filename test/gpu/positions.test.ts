/** Positions of a grid: the rotary tables against float64, what they tell attention, and a whole step with each kind. */
import { assert } from "chai";
import { checkHrmStep, createHrmStep } from "../../bench/core/hrm_step.js";
import {
  ConfigError,
  defaultTrainConfig,
  modelConfig,
  resumeDifferences,
  ResumeError,
  type HrmConfig,
  type Origin,
} from "../../hrm/index.js";
import { officialState, inferConfig } from "../../hrm/files/checkpoints/official.js";
import { initialState } from "../../hrm/model/parameters.js";
import { rotaryAngles } from "../../hrm/model/positions.js";
import { findPreset, withPuzzles } from "../../hrm/training/presets.js";
import { gridOf, sizesOf } from "../../hrm/model/task_fields.js";
import { mazeTask } from "../../hrm/puzzles/tasks/maze.js";
import { sudokuTask } from "../../hrm/puzzles/tasks/sudoku.js";
import { testDevice } from "../support/device.js";
import { EPS } from "../support/kernels.js";

const origin: Origin = { adapter: "", vendor: "", architecture: "", runtime: "", version: "" };
const small = { hidden_size: 32, num_heads: 2, H_layers: 1, L_layers: 1, swiglu_multiple: 32, batch_size: 4 };
const grid2d = (rows: number, columns: number, more: Partial<HrmConfig> = {}): HrmConfig =>
  modelConfig({
    ...{ ...small, pos_encodings: "rope2d", seq_len: rows * columns },
    ...{ grid_rows: rows, grid_columns: columns, ...more },
  });
const boxes = (size: 4 | 6 | 9, more: Partial<HrmConfig> = {}): HrmConfig =>
  modelConfig({ ...small, pos_encodings: "rope2d_boxes", ...sizesOf(sudokuTask(size)), ...more });

/** Compares tables [length, 2 x pairs] with angles in float64. */
function assertAngles(config: HrmConfig, prefix: number, angles: (cell: number) => readonly number[]): void {
  const { cos, sin } = rotaryAngles(config)!;
  const pairs = config.hidden_size / config.num_heads / 2;
  assert.equal(cos.length, (prefix + config.seq_len) * 2 * pairs);
  for (let t = 0; t < prefix + config.seq_len; t++) {
    const expected = t < prefix ? new Array<number>(pairs).fill(0) : angles(t - prefix);
    expected.forEach((angle, i) => {
      for (const at of [i, i + pairs].map((d) => t * 2 * pairs + d)) {
        assert.closeTo(cos[at]!, Math.cos(angle), EPS, `cosine of pair ${i} at position ${t}`);
        assert.closeTo(sin[at]!, Math.sin(angle), EPS, `sine of pair ${i} at position ${t}`);
      }
    });
  }
}

/** Sum over the pairs of the cosine of the angle between two cells: the part of q . k that positions decide. */
function peak({ cos, sin }: NonNullable<ReturnType<typeof rotaryAngles>>, D: number) {
  return (a: number, b: number): number => {
    let sum = 0;
    for (let i = 0; i < D / 2; i++)
      sum += cos[a * D + i]! * cos[b * D + i]! + sin[a * D + i]! * sin[b * D + i]!;
    return sum;
  };
}

describe("positions of a grid", () => {
  it("rotate by row and column, with frequencies f0 theta^(-i/n), and leave the puzzle's prefix alone", () => {
    for (const [rows, columns] of [
      [7, 7],
      [3, 5],
      [1, 4],
    ] as const)
      for (const puzzle_emb_ndim of [0, 40]) {
        const config = grid2d(rows, columns, { rope_frequency: 3, rope_theta: 16, puzzle_emb_ndim });
        const f = [3, 1.5, 0.75, 0.375];
        assertAngles(config, puzzle_emb_ndim === 0 ? 0 : 2, (cell) => [
          ...f.map((x) => Math.floor(cell / columns) * x),
          ...f.map((x) => (cell % columns) * x),
        ]);
      }
  });

  it("rotate by the characters of Z3 x Z3 on 9x9 Sudoku, and by the characters of the boxes of other sizes", () => {
    const third = (2 * Math.PI) / 3;
    const nine = (x: number) => [
      Math.floor(x / 3),
      x % 3,
      Math.floor(x / 3) + (x % 3),
      Math.floor(x / 3) + 2 * (x % 3),
    ];
    assertAngles(boxes(9), 0, (cell) =>
      [...nine(Math.floor(cell / 9)), ...nine(cell % 9)].map((k) => k * third),
    );
    // Three characters for four pairs: the last pair of each axis does not turn.
    const two = (x: number) =>
      [Math.floor(x / 2), x % 2, Math.floor(x / 2) + (x % 2), 0].map((k) => k * Math.PI);
    assertAngles(boxes(4, { puzzle_emb_ndim: 8 }), 1, (cell) => [
      ...two(Math.floor(cell / 4)),
      ...two(cell % 4),
    ]);
    const row = (x: number) => [
      third * Math.floor(x / 2),
      Math.PI * (x % 2),
      third * Math.floor(x / 2) + Math.PI * (x % 2),
      0,
    ];
    const column = (x: number) => [
      Math.PI * Math.floor(x / 3),
      third * (x % 3),
      Math.PI * Math.floor(x / 3) + third * (x % 3),
      0,
    ];
    assertAngles(boxes(6), 0, (cell) => [...row(Math.floor(cell / 6)), ...column(cell % 6)]);
  });

  it("gives each character as many pairs as a larger head has room for", () => {
    const third = (2 * Math.PI) / 3;
    const nine = (x: number) => [
      Math.floor(x / 3),
      x % 3,
      Math.floor(x / 3) + (x % 3),
      Math.floor(x / 3) + 2 * (x % 3),
    ];
    const twice = (x: number) => nine(x).flatMap((k) => [k * third, k * third]);
    assertAngles(boxes(9, { hidden_size: 64 }), 0, (cell) => [
      ...twice(Math.floor(cell / 9)),
      ...twice(cell % 9),
    ]);
  });

  it("make same row, same column and same box peaks of attention", () => {
    const rowPairs = peak(rotaryAngles(boxes(9))!, 16);
    for (const [a, b, expected] of [
      [0, 0, 8],
      [0, 5, 4 - 0.5],
      [0, 27, 4 - 0.5],
      [0, 40, -1],
    ] as const)
      assert.closeTo(rowPairs(a, b), expected, 1e-6, `cells ${a} and ${b}`);
    // The first pair of each axis tells bands and stacks: both agree within a box only.
    const { cos, sin } = rotaryAngles(boxes(9))!;
    const box = (a: number, b: number): number =>
      [0, 4].reduce(
        (sum, i) => sum + cos[a * 16 + i]! * cos[b * 16 + i]! + sin[a * 16 + i]! * sin[b * 16 + i]!,
        0,
      );
    for (let a = 0; a < 81; a++)
      for (let b = 0; b < 81; b++) {
        const boxOf = (cell: number) => Math.floor(cell / 27) * 3 + Math.floor((cell % 9) / 3);
        if (boxOf(a) === boxOf(b)) assert.closeTo(box(a, b), 2, 1e-6);
        else assert.isBelow(box(a, b), 0.51);
      }
  });

  it("scale the official angles by the base frequency", () => {
    const [one, two] = [1, 2].map((rope_frequency) =>
      rotaryAngles(modelConfig({ ...small, seq_len: 9, rope_frequency }))!,
    );
    // Position 2t of the one turns as position t of the other.
    for (let t = 0; t < 4; t++)
      for (let d = 0; d < 16; d++) assert.equal(two!.cos[t * 16 + d], one!.cos[2 * t * 16 + d]);
  });

  it("refuse grids, boxes and heads that do not fit", () => {
    const refused = (given: Partial<HrmConfig>, message: RegExp): void => {
      assert.throws(() => modelConfig({ ...small, ...given }), ConfigError, message);
    };
    const rope2d = { pos_encodings: "rope2d" } as const;
    refused({ seq_len: 12, grid_rows: 3, grid_columns: 5 }, /grid_rows: got 3; .*\(5\) = seq_len \(12\)/);
    refused({ ...rope2d, seq_len: 12 }, /pos_encodings: got "rope2d"; .*no rows and columns/);
    refused(
      { ...rope2d, ...gridOf(sudokuTask(4)), seq_len: 16, num_heads: 16 },
      /num_heads: .*divisible by 4.* not 2/,
    );
    refused({ seq_len: 36, grid_rows: 6, grid_columns: 6, box_rows: 4, box_columns: 3 }, /box_rows: got 4/);
    refused({ seq_len: 36, grid_rows: 6, grid_columns: 6, box_rows: 2 }, /box_columns: got 0/);
    refused({ seq_len: 36, box_rows: 2, box_columns: 3 }, /box_rows: got 2/);
    const boxed = { pos_encodings: "rope2d_boxes" } as const;
    refused({ ...boxed, ...sizesOf(mazeTask(7)) }, /pos_encodings: .*"rope2d".*no boxes/);
    refused({ ...boxed, ...sizesOf(sudokuTask(9)), num_heads: 4 }, /num_heads: .*at least 16.* not 8/);
    refused({ ...boxed, ...sizesOf(sudokuTask(4)), num_heads: 4 }, /num_heads: .*at least 12.* not 8/);
  });

  it("follow the puzzles that a preset is given", () => {
    const preset = { ...findPreset("sudoku9-easy")!, model: boxes(9) };
    const splits = (seed: number) => preset.splits(seed);
    const { model } = withPuzzles(preset, { task: sudokuTask(6), splitBy: "class", splits });
    assert.deepEqual([model.pos_encodings, model.grid_columns, model.box_rows], ["rope2d_boxes", 6, 2]);
    const mazes = withPuzzles(preset, { task: mazeTask(7), splitBy: "class", splits }).model;
    assert.deepEqual([mazes.pos_encodings, mazes.grid_rows, mazes.box_rows], ["rope2d", 7, 0]);
  });

  it("are taken from the options for weights alone, because rotary positions leave no trace in them", () => {
    const config = boxes(4);
    const state = officialState(
      new Map(
        [...initialState(config, 1)].map(([name, { shape, data }]) => [
          name,
          { dtype: "F32" as const, shape, data: data as Float32Array },
        ]),
      ),
    );
    const official = inferConfig(state, { num_heads: 2, seq_len: 16 });
    assert.equal(official.config.pos_encodings, "rope");
    assert.include(official.assumed, "pos_encodings");
    const given = inferConfig(state, { num_heads: 2, seq_len: 16, pos_encodings: "rope2d_boxes" });
    assert.deepEqual([given.config.grid_rows, given.config.box_columns], [4, 2]);
    assert.notInclude(given.assumed, "pos_encodings");
    assert.throws(() => inferConfig(state, { pos_encodings: "learned" }), ConfigError, /pos_encodings/);
  });

  it("resume runs from before the grid was recorded, unless positions need it", () => {
    const identity = {
      train: defaultTrainConfig,
      data: "",
      origin,
      kernels: {},
      microBatch: null,
      precision: null,
    };
    const compare = (before: HrmConfig, now: HrmConfig): unknown =>
      resumeDifferences({ ...identity, config: before }, { ...identity, config: now });
    const learned = modelConfig({ ...small, ...sizesOf(sudokuTask(4)), pos_encodings: "learned" });
    const none = { grid_rows: 0, grid_columns: 0, box_rows: 0, box_columns: 0 };
    assert.deepEqual(compare({ ...learned, ...none }, learned), []);
    const square = grid2d(4, 4);
    assert.throws(
      () => compare(square, { ...square, grid_rows: 2, grid_columns: 8 }),
      ResumeError,
      /grid_rows/,
    );
    assert.throws(() => compare(square, { ...square, pos_encodings: "rope" }), ResumeError, /pos_encodings/);
  });

  for (const [name, config] of [
    ["rope2d", grid2d(3, 5, { puzzle_emb_ndim: 40, num_puzzle_identifiers: 3, vocab_size: 6 })],
    ["rope2d_boxes", boxes(4, { puzzle_emb_ndim: 32 })],
  ] as const)
    it(`compute the loss of float64 in a training step (${name})`, async () => {
      const device = await testDevice();
      const { trainer, state } = await createHrmStep(device, config, { puzzles: 8, seed: 3 });
      assert.isBelow((await checkHrmStep(trainer, state, config)).error, 1e-4);
      trainer.destroy();
    });
});
