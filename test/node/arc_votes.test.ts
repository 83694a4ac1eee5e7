import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { readArcTasks, writeArcTasks } from "../../hrm/files/puzzles/arc.js";
import { buildArcDataset } from "../../hrm/puzzles/arc/dataset.js";
import { gridKey, gridRows, toCanvas, type ArcGrid } from "../../hrm/puzzles/arc/grid.js";
import { parseImageName, turned } from "../../hrm/puzzles/arc/image.js";
import { ARC_TOY_FAMILIES, arcToySources, generateArcToy } from "../../hrm/puzzles/arc/toy.js";
import { arcSubmission, scoreArc, voteArc } from "../../hrm/puzzles/arc/voting.js";
import { json, run } from "../support/command_line.js";
import { testSeed } from "../support/platform.js";

const grid = (...rows: number[][]): ArcGrid => ({
  rows: rows.length,
  columns: rows[0]!.length,
  cells: Uint8Array.from(rows.flat()),
});

describe("ARC votes", () => {
  const tasks = generateArcToy({ count: 10, seed: testSeed, demonstrations: 2, tests: 2 });
  const { test, identifiers } = buildArcDataset(
    { learned: [], tested: tasks },
    { augmentations: 6, seed: 1, side: 10 },
  );
  const set = test!;
  const label = (row: number): Int32Array =>
    set.labels.slice(row * 100, (row + 1) * 100).map((token) => Math.max(0, token));
  /** Answers by row; null answers right. */
  const vote = (
    answer: (row: number, name: string) => Int32Array | null,
    q: (row: number) => number = () => 0,
  ) => {
    const tokens = new Int32Array(set.labels.length);
    for (let row = 0; row < set.count; row++)
      tokens.set(answer(row, identifiers[set.identifiers[row]!]!) ?? label(row), row * 100);
    const qHalt = Float64Array.from({ length: set.count }, (_, row) => q(row));
    return voteArc({ set, identifiers, tokens, qHalt });
  };
  const wrong = toCanvas(grid([9, 9, 9, 9, 9, 9, 9, 9, 9]), 10);

  it("right answers of all images are one answer with all votes, for each test in its order", () => {
    const votes = vote(() => null);
    assert.equal(votes.length, 20);
    votes.forEach(({ task, answer, candidates }, i) => {
      const own = tasks[Math.floor(i / 2)]!;
      assert.equal(task, own.id);
      assert.equal(gridKey(answer!), gridKey(own.test[i % 2]!.output!));
      assert.deepEqual(
        candidates.map(({ votes, confidence }) => [votes, confidence]),
        [[7, 0.5]],
      );
      assert.equal(gridKey(candidates[0]!.grid), gridKey(answer!));
    });
    assert.deepEqual(scoreArc(votes, 1), { tests: 20, right: 20, tasks: 10, score: 10 });
  });

  it("answers that are not mapped back do not agree", () => {
    // The answer of the task itself, as if images answered without being mapped.
    const own = new Map<string, Int32Array>();
    const votes = vote((row, name) => {
      const { id, image } = parseImageName(name);
      const key = `${id} ${row % 2}`;
      if (!image) own.set(key, label(row));
      return own.get(key)!;
    });
    assert.isBelow(Math.min(...votes.map(({ candidates }) => candidates[0]!.votes)), 7);
  });

  it("the second attempt counts for pass@2 alone; equal votes are decided by the mean of sigmoid(q_halt)", () => {
    // Each image is wrong in its own frame, so that a fixed grid is many answers; the task itself is wrong as well.
    const isRight = (row: number, images: number): boolean => Math.floor(row / 2) % 7 < images;
    // 1 image is right, and all others give no grid but the last, which is wrong.
    const blank = new Int32Array(100);
    const answers = (row: number) => (isRight(row, 1) ? null : Math.floor(row / 2) % 7 === 6 ? wrong : blank);
    const low = vote(answers, (row) => (isRight(row, 1) ? -1 : 1));
    assert.deepEqual([scoreArc(low, 1).right, scoreArc(low, 2).right], [0, 20]);
    const high = vote(answers, (row) => (isRight(row, 1) ? 1 : -1));
    assert.deepEqual([scoreArc(high, 1).right, scoreArc(high, 2).right], [20, 20]);
    // A NaN has no confidence; more votes win over any confidence.
    const nan = vote(answers, (row) => (isRight(row, 1) ? -9 : NaN));
    assert.equal(scoreArc(nan, 1).right, 20);
    const many = vote(
      (row) => (isRight(row, 2) ? null : Math.floor(row / 2) % 7 === 6 ? wrong : blank),
      (row) => (isRight(row, 2) ? -9 : 9),
    );
    assert.equal(scoreArc(many, 1).right, 20);
  });

  it("the score is a mean over tasks, and tests without an answer do not count", () => {
    const votes = vote((row) => (row % 2 === 0 ? null : wrong));
    assert.deepEqual(scoreArc(votes, 2), { tests: 20, right: 10, tasks: 10, score: 5 });
    const unknown = votes.map((vote, i) => (i === 0 ? { ...vote, answer: null } : vote));
    assert.deepEqual(scoreArc(unknown, 2), { tests: 19, right: 9, tasks: 10, score: 4.5 });
  });

  it("the submission has two attempts for each test", () => {
    const votes = vote((row) => (row < 14 ? null : new Int32Array(100)));
    const submission = arcSubmission(votes);
    assert.deepEqual(
      Object.keys(submission),
      tasks.map(({ id }) => id),
    );
    const right = gridRows(tasks[0]!.test[1]!.output!);
    assert.deepEqual(submission[tasks[0]!.id]![1], { attempt_1: right, attempt_2: right });
    assert.deepEqual(submission[tasks[1]!.id]![0], { attempt_1: [[0]], attempt_2: [[0]] });
  });
});

describe("arc-toy", () => {
  const tasks = generateArcToy({ count: 50, seed: testSeed });

  it("every family keeps its rule in all pairs of a task", () => {
    for (const { id, train, test } of tasks) {
      const pairs = [...train, ...test].map(({ input, output }) => ({ input, output: output! }));
      const family = id.split("-")[0]!;
      const count = (of: ArcGrid, colour: number): number => of.cells.filter((c) => c === colour).length;
      const colours = Array.from({ length: 9 }, (_, i) => i + 1);
      const sorted = (of: ArcGrid): string => [...of.cells].sort().join("");
      for (const { input, output } of pairs)
        for (const { rows, columns, cells } of [input, output]) {
          assert.isTrue(Math.max(rows, columns) < 10 && cells.length === rows * columns, id);
        }
      const holds: Record<string, () => boolean> = {
        recolour: () =>
          colours.some((from) =>
            colours.some(
              (to) =>
                to !== from &&
                pairs.every(({ input, output }) =>
                  output.cells.every((c, i) => c === (input.cells[i] === from ? to : input.cells[i])),
                ),
            ),
          ),
        mirror: () =>
          [4, 5, 6].some((k) =>
            pairs.every(({ input, output }) => gridKey(turned(input, k)) === gridKey(output)),
          ),
        gravity: () => pairs.every(({ input, output }) => sorted(input) === sorted(output)),
        count: () =>
          colours.some((c) =>
            pairs.every(
              ({ input, output }) => output.cells.every((o) => o === c) && output.columns === count(input, c),
            ),
          ),
        flood: () =>
          colours.some((filling) =>
            pairs.every(
              ({ input, output }) =>
                count(input, filling) === 0 &&
                count(output, filling) > 0 &&
                output.cells.every((c, i) => (c === filling ? input.cells[i] === 0 : c === input.cells[i])),
            ),
          ),
      };
      assert.isTrue(holds[family]!(), id);
    }
    assert.deepEqual(
      tasks.slice(0, 5).map(({ id }) => id.split("-")[0]),
      [...ARC_TOY_FAMILIES],
    );
    assert.deepEqual(generateArcToy({ count: 50, seed: testSeed }), tasks);
    assert.throws(() => generateArcToy({ count: 0, seed: 0 }), /count = 0/);
  });

  it("tasks are written as published, and every tested identifier is trained", () => {
    assert.deepEqual(
      readArcTasks([{ name: "toy.json", bytes: new TextEncoder().encode(writeArcTasks(tasks)) }]).tasks,
      tasks,
    );
    const { learned, tested } = arcToySources(tasks);
    assert.deepEqual([learned.length, tested.length], [30, 20]);
  });
});

describe("ARC on the command line @slow", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hrm-arc-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Four tasks with grids of up to 3 x 3, of which one test has no output. */
  const pair = (k: number) => ({
    input: [
      [k, 0],
      [0, k],
    ],
    output: [
      [0, k],
      [k, 0],
    ],
  });
  const challenges = Object.fromEntries(
    [1, 2, 3].map((k) => [
      `task${k}`,
      { train: [pair(k), pair(k + 1), pair(k + 2)], test: [{ input: [[k + 5, 0, k]] }] },
    ]),
  );
  const solutions = { task1: [[[1, 0, 6]]], task2: [[[2, 0, 7]]] };

  it("challenges become a data set, a model trains on it, is scored and submits (plumbing: nothing is learned in 2 steps)", async () => {
    writeFileSync(join(folder, "challenges.json"), JSON.stringify(challenges));
    writeFileSync(join(folder, "solutions.json"), JSON.stringify(solutions));
    const made = await run(
      folder,
      ..."generate --arc challenges.json,solutions.json --augmentations 2 --canvas 5 --out data --json".split(
        " ",
      ),
    );
    assert.equal(made.code, 0, made.stderr);
    assert.deepEqual(json(made)["identifiers"], 10);
    const fields =
      "--batch 4 --hidden_size 16 --num_heads 2 --swiglu_multiple 16 --puzzle_emb_ndim 16 --halt_max_steps 2 --inference_segments 2 --H_cycles 1 --L_cycles 1 --bp_steps 1";
    const trained = await run(
      folder,
      ...`train --preset arc-toy --data data --steps 2 --eval-every 2 --out runs --adapter software ${fields} --json`.split(
        " ",
      ),
    );
    assert.include([0, 1], trained.code, trained.stderr);
    const checkpoint = join("runs", "arc-toy-seed0", "best.safetensors");
    const scored = await run(
      folder,
      "eval",
      "--checkpoint",
      checkpoint,
      "--data",
      "data",
      "--adapter",
      "software",
      "--json",
    );
    assert.equal(scored.code, 0, scored.stderr);
    const { pass1, pass2 } = json(scored)["arc"] as Record<string, Record<string, number>>;
    assert.deepEqual([pass1!["tests"], pass1!["tasks"], pass2!["tests"]], [2, 2, 2]);
    assert.match(scored.stderr, /pass@2 .*of 2 tasks/);
    assert.notMatch(scored.stderr, /not in training/);
    const submitted = await run(
      folder,
      "submit",
      "--checkpoint",
      checkpoint,
      "--data",
      "data",
      "--out",
      "submission.json",
      "--adapter",
      "software",
    );
    assert.equal(submitted.code, 0, submitted.stderr);
    const submission = JSON.parse(readFileSync(join(folder, "submission.json"), "utf8")) as Record<
      string,
      { attempt_1: number[][] }[]
    >;
    assert.deepEqual(Object.keys(submission), Object.keys(challenges));
    for (const [attempts] of Object.values(submission)) assert.isAbove(attempts!.attempt_1[0]!.length, 0);
  });

  const wrong: [string, RegExp][] = [
    ["generate --arc gone.json --out x", /--arc: cannot read "gone.json"/],
    ["generate --arc challenges.json --count 3 --out x", /--count: got 3 with --arc/],
    ["generate --arc solutions.json --out x", /--arc: arc: no tasks/],
    ["generate --arc challenges.json --canvas 2 --out x", /nothing is left to learn/],
    ["generate --arc challenges.json --format csv --out x", /--format: got csv; expected official/],
    [
      "generate --task arc-toy --difficulty easy --out x",
      /--difficulty: got easy; arc-toy has no such option/,
    ],
    ["generate --augmentations 3 --out x.csv", /--augmentations: got 3; sudoku9 has no such option/],
    ["submit --data data", /--out: got nothing/],
  ];
  for (const [command, message] of wrong)
    it(`refuses: ${command}`, async () => {
      const { code, stderr } = await run(folder, ...command.split(" "));
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    });
});
