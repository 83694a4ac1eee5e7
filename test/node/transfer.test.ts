import { assert } from "chai";
import { hostTensor } from "../../engine/index.js";
import { derive, modelConfig, type HrmConfig } from "../../hrm/model/config.js";
import { initialState, parameterSpecs, StateError, type StateDict } from "../../hrm/model/parameters.js";
import { changedMeaning, inheritedFields, transferWeights } from "../../hrm/training/transfer.js";
import { findPreset } from "../../hrm/training/presets.js";

const base = modelConfig({
  ...{
    batch_size: 4,
    seq_len: 6,
    vocab_size: 7,
    grid_rows: 2,
    grid_columns: 3,
    hidden_size: 8,
    num_heads: 2,
  },
  ...{ H_layers: 1, L_layers: 1, swiglu_multiple: 8, pos_encodings: "learned" },
  ...{ puzzle_emb_ndim: 8, num_puzzle_identifiers: 2 },
});
const POSITIONS = "inner.embed_pos.embedding_weight";
const PUZZLES = "inner.puzzle_emb.weights";

/** Every parameter holds numbers of its own. */
function numbered(config: HrmConfig): StateDict {
  let next = 1;
  return new Map(
    parameterSpecs(config).map(({ name, shape }) => {
      const count = shape.reduce((a, b) => a * b, 1);
      return [
        name,
        hostTensor(
          Float32Array.from({ length: count }, () => next++),
          shape,
        ),
      ];
    }),
  );
}

const rowOf = (state: StateDict, name: string, row: number): number[] => {
  const { data, shape } = state.get(name)!;
  return [...data.slice(row * shape[1]!, (row + 1) * shape[1]!)];
};

describe("weights as the start of another model", () => {
  const source = { config: base, state: numbered(base) };
  const fresh = (config: HrmConfig): StateDict => initialState(config, 5);

  it("takes every tensor of an equal model, to the bit", () => {
    const { state, taken, notes } = transferWeights(source, { ...base, batch_size: 9, bp_steps: 3 }, 5);
    assert.deepEqual(notes, []);
    assert.sameMembers([...taken], [...source.state.keys()]);
    for (const [name, { data }] of source.state) assert.equal(state.get(name)!.data, data, name);
  });

  it("moves learned positions by rows and columns to a larger grid, and starts the others anew", () => {
    const larger = { ...base, seq_len: 12, grid_rows: 3, grid_columns: 4 };
    const { state, notes } = transferWeights(source, larger, 5);
    assert.deepEqual(
      notes.map(({ name }) => name),
      [POSITIONS],
    );
    assert.match(notes[0]!.what, /taken for 7 of 13 positions/);
    const prefix = derive(base).puzzleLength;
    assert.equal(prefix, 1);
    assert.deepEqual(rowOf(state, POSITIONS, 0), rowOf(source.state, POSITIONS, 0));
    for (let cell = 0; cell < 12; cell++) {
      const [row, column] = [Math.floor(cell / 4), cell % 4];
      const shared = row < 2 && column < 3;
      const expected = shared
        ? rowOf(source.state, POSITIONS, 1 + row * 3 + column)
        : rowOf(fresh(larger), POSITIONS, 1 + cell);
      assert.deepEqual(rowOf(state, POSITIONS, 1 + cell), expected, `cell ${cell}`);
    }
  });

  it("moves positions of as many cells in a grid of another form, too", () => {
    const turned = { ...base, grid_rows: 3, grid_columns: 2 };
    const { state } = transferWeights(source, turned, 5);
    assert.deepEqual(rowOf(state, POSITIONS, 1 + 2), rowOf(source.state, POSITIONS, 1 + 3));
    assert.deepEqual(rowOf(state, POSITIONS, 1 + 4), rowOf(fresh(turned), POSITIONS, 1 + 4));
  });

  it("takes cells in order if there are no grids", () => {
    const plain = { grid_rows: 0, grid_columns: 0 };
    const from = { config: { ...base, ...plain }, state: source.state };
    const { state } = transferWeights(from, { ...base, ...plain, seq_len: 4 }, 5);
    assert.deepEqual(rowOf(state, POSITIONS, 4), rowOf(source.state, POSITIONS, 4));
  });

  it("starts puzzle embeddings at the mean of the given ones if their number differs", () => {
    const { state, notes } = transferWeights(source, { ...base, num_puzzle_identifiers: 3 }, 5);
    const mean = rowOf(source.state, PUZZLES, 0).map((v, i) => (v + rowOf(source.state, PUZZLES, 1)[i]!) / 2);
    for (const row of [0, 1, 2]) assert.deepEqual(rowOf(state, PUZZLES, row), mean);
    assert.match(notes[0]!.what, /mean of the 2 rows/);
  });

  it("starts tables of tokens anew for another vocabulary, and says so of parts that only one model has", () => {
    const other = modelConfig({ ...base, vocab_size: 9, pos_encodings: "rope", puzzle_emb_ndim: 0 });
    const { state, notes, taken } = transferWeights(source, other, 5);
    assert.deepEqual(
      notes.map(({ name, what }) => `${name.slice(6)}: ${what}`),
      [
        "embed_tokens.embedding_weight: starts anew: the weights have 7 tokens, the task has 9",
        "lm_head.weight: starts anew: the weights have 7 tokens, the task has 9",
        "embed_pos.embedding_weight: not taken: the new model has none",
        "puzzle_emb.weights: not taken: the new model has none",
      ],
    );
    assert.include(taken, "inner.H_init");
    assert.deepEqual(state.get("inner.lm_head.weight")!.data, fresh(other).get("inner.lm_head.weight")!.data);
    const back = transferWeights({ config: other, state }, base, 5);
    assert.match(
      back.notes.find(({ name }) => name === POSITIONS)!.what,
      /the weights have no learned positions/,
    );
    assert.match(
      back.notes.find(({ name }) => name === PUZZLES)!.what,
      /the weights have no puzzle embedding/,
    );
  });

  const unfit: readonly (readonly [what: string, fields: Partial<HrmConfig>, message: RegExp])[] = [
    [
      "another width",
      { hidden_size: 16, puzzle_emb_ndim: 16 },
      /embed_tokens.* shape \[7, 8\]; expected shape \[7, 16\]/,
    ],
    ["more layers", { H_layers: 2 }, /H_level\.layers\.1.* has nothing; expected shape/],
    ["fewer layers", { arch: "trm" }, /H_level.* has weights; expected none/],
    ["a wider puzzle embedding", { puzzle_emb_ndim: 16 }, /puzzle_emb\.weights has shape \[2, 8\]/],
    ["another mixer", { mlp_t: true, pos_encodings: "none" }, /mlp_t.* has nothing/],
  ];
  for (const [what, fields, message] of unfit)
    it(`refuses ${what} by the tensor's name`, () => {
      assert.throws(
        () => transferWeights(source, modelConfig({ ...base, ...fields }), 5),
        StateError,
        message,
      );
    });

  it("inherits what the puzzles do not decide, and positions that their grid has", () => {
    const sudoku = { ...findPreset("sudoku9-easy")!.model, hidden_size: 96, num_heads: 4 };
    const maze = findPreset("maze7")!.model;
    const onMaze = { ...maze, ...inheritedFields(sudoku, maze) };
    assert.deepInclude(onMaze, { hidden_size: 96, seq_len: 49, vocab_size: maze.vocab_size, box_rows: 0 });
    assert.equal(onMaze.pos_encodings, "rope2d");
    assert.equal(onMaze.batch_size, maze.batch_size);
    const bare = { ...maze, grid_rows: 0, grid_columns: 0 };
    assert.equal(inheritedFields(sudoku, bare).pos_encodings, "rope");
    assert.deepEqual(changedMeaning(sudoku, { ...sudoku, num_heads: 2, causal: true }), [
      "num_heads",
      "causal",
    ]);
  });
});
