/** A checkpoint on puzzles of another size than it was trained on. */
import { assert } from "chai";
import type { Checkpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { ArgumentError } from "../../hrm/terminal/arguments.js";
import { onGridOf } from "../../hrm/cli/inputs/other_grid.js";
import type { HrmConfig } from "../../hrm/model/config.js";
import { modelConfig } from "../../hrm/model/config.js";
import { initialState, parameterSpecs } from "../../hrm/model/parameters.js";
import { sizesOf } from "../../hrm/model/task_fields.js";
import { mazeTask } from "../../hrm/puzzles/tasks/maze.js";
import { sudokuTask } from "../../hrm/puzzles/tasks/sudoku.js";

const small = { hidden_size: 16, num_heads: 1, H_layers: 1, L_layers: 1, swiglu_multiple: 16 };

function trained(fields: Partial<HrmConfig>): Checkpoint {
  const config = modelConfig({ ...small, ...sizesOf(mazeTask(5)), ...fields });
  return { config, task: "maze-5x5", step: 3, seed: 1, raw: initialState(config, 1), ema: null };
}

describe("a model on another grid", () => {
  it("keeps its weights and takes the sizes of the puzzles", () => {
    for (const pos_encodings of ["rope2d", "rope", "none"] as const) {
      const before = trained({ pos_encodings });
      const { config, raw } = onGridOf(before, mazeTask(8));
      assert.deepEqual([config.seq_len, config.grid_rows, config.grid_columns], [64, 8, 8]);
      assert.equal(config.pos_encodings, pos_encodings);
      assert.equal(raw, before.raw);
      for (const { name, shape } of parameterSpecs(config))
        assert.deepEqual([...raw.get(name)!.shape], [...shape]);
    }
  });

  it("is refused if the weights are tied to their size, to boxes or to tokens", () => {
    const refuse = (fields: Partial<HrmConfig>, task = mazeTask(8), message = /--any-size/): void => {
      assert.throws(() => onGridOf(trained(fields), task), ArgumentError, message);
    };
    refuse(
      { pos_encodings: "learned" },
      mazeTask(8),
      /got puzzles of 8x8 cells; expected 25 cells, as .*learned/,
    );
    refuse({ pos_encodings: "none", mlp_t: true }, mazeTask(8), /mixes so many positions/);
    refuse({ pos_encodings: "rope2d" }, sudokuTask(6), /got puzzles of 8 tokens; expected 6/);
    const boxes = { ...sizesOf(sudokuTask(4)), pos_encodings: "rope2d_boxes" } as const;
    refuse(boxes, mazeTask(8), /cannot read 8x8 cells: config\.pos_encodings: .*no boxes/);
  });
});
