/** The visitor's own puzzles on the page: the worked example, fields of a file's run, and mazes drawn by pointer. */
import { expect } from "chai";
import { readFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { changed, covers, emptyPuzzle, strokeToken } from "../../docs/playground/puzzles/cells.js";
import {
  beginEdit,
  beginStroke,
  drawCell,
  edit,
  editedCells,
  undo,
} from "../../docs/playground/puzzles/editor.js";
import { judge } from "../../docs/playground/puzzles/judge.js";
import { EXAMPLE_TASK, mirrorExample } from "../../docs/playground/puzzles/mirror_example.js";
import { models, puzzle } from "../../docs/playground/state/page_state.js";
import {
  configuredPreset,
  differencesOf,
  formatPlace,
  presetRun,
  readField,
  readPlace,
} from "../../docs/playground/run_config.js";
import { puzzlesOfRun } from "../../docs/playground/worker/own_puzzles.js";
import { readPuzzleJsonl } from "../../hrm/files/puzzles/index.js";
import { GOAL, mazeTask, OPEN, START, WALL } from "../../hrm/puzzles/tasks/maze.js";

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

describe("own puzzles on the page", () => {
  it("the worked example is the file that the program in docs/data.md prints", () => {
    const program = /```js\n(\/\/ node mirror\.mjs[\s\S]*?)```/.exec(
      readFileSync("docs/data.md", "utf8"),
    )![1]!;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-", "2000", "1"], {
      input: program,
      encoding: "utf8",
    });
    expect(mirrorExample()).to.equal(stdout);
    const { task, set } = readPuzzleJsonl(bytes(mirrorExample()), undefined, "mirror.jsonl", {});
    expect(task.name).to.equal(EXAMPLE_TASK);
    expect(set.count).to.equal(2000);
  });

  it("splits a file as the command line does, and gives the model its sizes", async () => {
    const run = { ...presetRun("sudoku4"), data: "example" };
    const puzzles = await puzzlesOfRun(run, {
      id: "example",
      name: "mirror.jsonl",
      bytes: bytes(mirrorExample()),
    });
    const preset = configuredPreset(run, puzzles);
    expect([preset.model.seq_len, preset.model.vocab_size]).to.deep.equal([12, 6]);
    const { train, validation, test } = preset.splits(0);
    expect(train.count + validation.count + test.count).to.equal(2000);
    expect(validation.count).to.be.within(200, 210);
  });

  it("reads fields of the model from the address and writes them back", () => {
    const { run, problems } = readPlace("#preset=sudoku4&H_cycles=3&halt_only=true&arch=trm&data=example");
    expect(problems).to.deep.equal([]);
    expect(run.fields).to.deep.equal({ H_cycles: 3, halt_only: true, arch: "trm" });
    expect(readPlace(formatPlace({ run, puzzle: null })).run).to.deep.equal(run);
    expect(configuredPreset(run).model.H_cycles).to.equal(3);
    expect(readPlace("#H_cycles=0&seq_len=4").problems).to.have.length(2);
    expect(readField("sudoku4", "num_heads", "3")).to.deep.equal({ value: 3 });
    expect(readField("sudoku4", "beta1", "1"))
      .to.have.property("problem")
      .that.contains("below 1");
    const usual = presetRun("sudoku4");
    expect(differencesOf({ ...usual, lr: 0.5, fields: { H_cycles: 3 } }, usual)).to.deep.equal([
      `lr 0.5 instead of ${usual.lr}`,
      "H_cycles 3 instead of 2",
    ]);
  });

  it("draws a maze: a stroke is one step back, and spares start and goal", () => {
    const maze = mazeTask(5);
    const cells = emptyPuzzle(maze);
    expect(judge(maze, cells).text).to.contain("The shortest path has 8 moves; there are 70");
    expect(strokeToken(changed(maze, cells, 7, WALL), 7, WALL)).to.equal(OPEN);
    expect([covers(WALL, START), covers(GOAL, START), covers(WALL, OPEN)]).to.deep.equal([
      true,
      false,
      false,
    ]);

    models.value = {
      file: null,
      run: { source: "run", task: maze.name, held: { count: 0 } } as never,
    };
    models.value = { ...models.value, file: models.value.run };
    puzzle.value = { inputs: cells, label: null, index: null };
    beginEdit();
    beginStroke(6);
    for (const cell of [7, 8, 0, 8]) drawCell(cell);
    expect([...editedCells.value!].flatMap((token, cell) => (token === WALL ? [cell] : []))).to.deep.equal([
      6, 7, 8,
    ]);
    expect(editedCells.value![0]).to.equal(START);
    undo();
    expect([...editedCells.value!]).to.deep.equal([...cells]);
    edit.value = null;
    models.value = { run: null, file: null };
  });
});
