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
import { generateMazes } from "../../hrm/puzzles/tasks/maze_generator.js";
import { findTask } from "../../hrm/puzzles/tasks/registry.js";
import { sudokuTask } from "../../hrm/puzzles/tasks/sudoku.js";
import { generateSudoku } from "../../hrm/puzzles/tasks/sudoku_generator.js";
import { newPuzzle, textOfNew } from "../../docs/playground/puzzles/new_puzzle.js";
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

  it("makes new puzzles: as many givens or as long a path, one solution, and harder ones", () => {
    for (const [size, givens] of [
      [4, 7],
      [6, 15],
      [6, 10],
      [9, 32],
    ] as const) {
      const task = sudokuTask(size);
      const [first] = generateSudoku({
        ...{ size, count: 1, seed: 1, givens: [givens, givens] },
        difficulty: givens === 10 ? "any" : "easy",
      });
      for (const harder of [false, true]) {
        const made = newPuzzle(task, { inputs: first!.input, harder, seed: 5 })!;
        const count = made.inputs.filter((token) => token > 1).length;
        expect([count, made.amount, made.harder]).to.deep.equal(
          harder ? [givens - 1, givens - 1, true] : [givens, givens, false],
        );
        expect(judge(task, made.inputs).text).to.equal("Exactly one solution.");
        expect(task.check(made.inputs, made.label).solved).to.equal(true);
        expect([...made.inputs]).to.not.deep.equal([...first!.input]);
      }
    }
    // The fewest givens of a 4x4 Sudoku are four: no harder one is made, and the page says so.
    const task = sudokuTask(4);
    const [four] = generateSudoku({ size: 4, count: 1, seed: 1, givens: [4, 4], difficulty: "any" });
    const least = newPuzzle(task, { inputs: four!.input, harder: true, seed: 5 })!;
    expect([least.amount, least.harder]).to.deep.equal([4, false]);
    expect(textOfNew(task, least, true)).to.equal(
      "This puzzle was made just now: it has 4 givens and exactly one solution. No puzzle with fewer givens was found.",
    );
    const maze = mazeTask(7);
    const [short] = generateMazes({ side: 7, count: 1, seed: 2, minLength: 9 });
    for (const harder of [false, true]) {
      const made = newPuzzle(maze, { inputs: short!.input, harder, seed: 5 })!;
      expect(made.amount).to.be.at.least(short!.rating + (harder ? 1 : 0));
      expect(judge(maze, made.inputs).text).to.equal(
        `The shortest path has ${made.amount} moves; there is exactly one.`,
      );
    }
    expect(
      newPuzzle(findTask(EXAMPLE_TASK)!, { inputs: new Int32Array(12), harder: true, seed: 5 }),
    ).to.equal(null);
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
