/** What `hrm eval` makes of answers: bands of difficulty, halting, and the file of predictions. */
import { expect } from "chai";
import { encodePredictions, predictionLines } from "../../hrm/cli/output/predictions.js";
import {
  bandScores,
  bandTable,
  limitRows,
  limitTable,
  stoppingRule,
} from "../../hrm/cli/output/score_tables.js";
import { readPuzzleCsv } from "../../hrm/files/puzzles/csv.js";
import { difficultyBands } from "../../hrm/puzzles/difficulty.js";
import { puzzleSet } from "../../hrm/puzzles/puzzle_set.js";
import { generateMazes } from "../../hrm/puzzles/tasks/maze_generator.js";
import { mazeTask } from "../../hrm/puzzles/tasks/maze.js";
import { generateSudoku } from "../../hrm/puzzles/tasks/sudoku_generator.js";
import { sudokuTask } from "../../hrm/puzzles/tasks/sudoku.js";
import { findTask } from "../../hrm/puzzles/tasks/registry.js";
import { censusOf, earlyHalting, firstHalts, rightAfter } from "../../hrm/thinking/census.js";
import { testSeed } from "../support/platform.js";

describe("bands of difficulty", () => {
  it("group mazes by the moves of their path, shortest first", () => {
    const records = generateMazes({ side: 5, count: 60, seed: testSeed, minLength: [1, 10] });
    const task = mazeTask(5);
    const bands = difficultyBands(puzzleSet(records, task.length), task);
    const rows = bands.flatMap(({ rows }) => rows);
    expect([...rows].sort((a, b) => a - b)).to.deep.equal(records.map((_, row) => row));
    let least = 0;
    for (const { measure, name, rows } of bands) {
      expect(measure).to.equal("path length");
      const [from, to = from] = name.split("-").map(Number) as [number, number?];
      expect(from).to.be.above(least);
      for (const row of rows) expect(records[row]!.rating).to.be.within(from, to);
      least = to!;
    }
    expect(bands.length).to.be.within(2, 6);
  });

  it("group Sudoku by givens, most first, and by what a solver needs", () => {
    const task = sudokuTask(9);
    const easy = generateSudoku({ size: 9, count: 5, seed: testSeed, givens: [34, 37] });
    const medium = generateSudoku({
      size: 9,
      count: 4,
      seed: testSeed,
      difficulty: "medium",
      givens: [28, 31],
    });
    const bands = difficultyBands(puzzleSet([...easy, ...medium], task.length), task);
    const givens = bands.filter(({ measure }) => measure === "givens");
    expect(givens.flatMap(({ rows }) => rows)).to.have.members([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    const firsts = givens.map(({ name }) => Number(name.split("-")[0]));
    expect(firsts).to.deep.equal([...firsts].sort((a, b) => b - a));
    const solver = bands.filter(({ measure }) => measure === "solver");
    expect(solver).to.deep.equal([
      { measure: "solver", name: "naked singles", rows: [0, 1, 2, 3, 4] },
      { measure: "solver", name: "hidden singles", rows: [5, 6, 7, 8] },
    ]);
  });

  it("do not exist for a task without a measure", () => {
    const task = findTask("grid-2x2-v4")!;
    const one = { source: "", input: Int32Array.of(1, 2, 3, 1), label: Int32Array.of(1, 2, 3, 1), rating: 0 };
    expect(difficultyBands(puzzleSet([one], 4), task)).to.deep.equal([]);
  });
});

/** Three puzzles in two batches, four segments. */
const batches = [
  {
    ...{ first: 0, puzzles: 2, segments: 4, tokens: new Int32Array(0) },
    qHalt: Float32Array.of(-1, 0, 2, -3, 0.5, -1, -1, -1),
    qContinue: new Float32Array(8),
    right: Uint8Array.of(0, 1, 1, 0, 0, 0, 1, 1),
  },
  {
    ...{ first: 2, puzzles: 1, segments: 4, tokens: new Int32Array(0) },
    qHalt: Float32Array.of(-1, -2, -3, -4),
    qContinue: new Float32Array(4),
    right: Uint8Array.of(0, 0, 0, 1),
  },
];

describe("scores of a census", () => {
  const census = censusOf(batches);

  it("stop each puzzle at its first q_halt above 0, else after the last segment", () => {
    expect([...firstHalts(census)]).to.deep.equal([3, 1, 4]);
    // Puzzle 1 is right after segment 3, puzzle 2 wrong after segment 1, puzzle 3 right after the last.
    expect(earlyHalting(census)).to.deep.equal({ exact: 2, meanSegments: 8 / 3 });
    expect([...rightAfter(census)]).to.deep.equal([0, 1, 2, 2]);
    const rows = limitRows(census, true);
    expect(rows.map(({ exact, exactStopping }) => [exact, exactStopping])).to.deep.equal([
      [0, 0],
      [1, 1],
      [2, 1],
      [2, 2],
    ]);
    expect(rows.map(({ meanSegments }) => meanSegments)).to.deep.equal([1, 5 / 3, 7 / 3, 8 / 3]);
    const table = limitTable(rows, census).split("\n");
    expect(table[0]).to.equal("segments; stopping is: a puzzle ends once q_halt is above 0");
    expect(table.at(-1)).to.match(/^4 +66\.7% \[.*\] +66\.7% \[.*\] +2\.67 +33\.3%$/);
    // Of puzzles that were stopped, nobody knows what all segments would have given.
    expect(limitTable(limitRows(census, false), census).split("\n")[1]).to.match(/^at most +exact, stopping/);
  });

  it("show powers of two of many limits, and the last", () => {
    const segments = 40;
    const of = (length: number) => ({ qHalt: new Float32Array(length), qContinue: new Float32Array(length) });
    const long = { ...{ puzzles: 1, segments, right: new Uint8Array(segments) }, ...of(segments) };
    expect(limitRows(long, true).map(({ limit }) => limit)).to.deep.equal([1, 2, 4, 8, 16, 32, 40]);
  });

  it("stop where q_halt is above q_continue after full ACT", () => {
    const qContinue = Float32Array.from(census.qHalt, (q, at) => (at % 4 === 1 ? q - 1 : q));
    const full = { ...census, qContinue, haltOnly: false };
    expect([...firstHalts(full)]).to.deep.equal([2, 2, 2]);
    expect(stoppingRule(full)).to.equal("q_halt is above q_continue");
    expect([...firstHalts({ ...full, haltAbove: 0.5 })]).to.deep.equal([2, 2, 2]);
    expect([...firstHalts({ ...full, haltAbove: 1 })]).to.deep.equal([4, 4, 4]);
    expect([...firstHalts({ ...census, haltAbove: 1 })]).to.deep.equal([3, 4, 4]);
  });

  it("count each band by itself", () => {
    const scores = bandScores(census, [
      { measure: "givens", name: "30", rows: [0, 2] },
      { measure: "givens", name: "29", rows: [1] },
    ]);
    expect(
      scores.map(({ puzzles, exact, meanSegmentsToHalt }) => [puzzles, exact, meanSegmentsToHalt]),
    ).to.deep.equal([
      [2, 1, 3.5],
      [1, 1, 1],
    ]);
    expect(bandTable(scores).split("\n")[1]).to.match(/^givens\s+30\s+2\s+50\.0% \[.*\]\s+3\.50$/);
  });
});

describe("predictions of hrm eval", () => {
  const task = mazeTask(3);
  // A space is an open cell, here also the last of the maze.
  const [input, label] = ["S # #  G ", "S #o# oG "].map((text) => task.decode(text)) as [
    Int32Array,
    Int32Array,
  ];
  const record = { source: "", input, label, rating: 4 };
  const set = puzzleSet([record, record, record], task.length);
  const wrong = input;
  const tokens = Int32Array.from([...label, ...label, ...wrong]);
  const census = censusOf(batches);
  const answers = {
    ...{
      puzzles: 3,
      segments: 4,
      tokens,
      ran: Int32Array.of(4, 2, 4),
      lost: new Uint8Array(3),
      computed: 12,
    },
    qAnswer: new Float32Array(3),
    ...{ qHalt: census.qHalt, qContinue: census.qContinue, right: census.right },
  };
  const lines = predictionLines({ data: set, rows: [0, 1, 5], answers, census }, task);

  it("hold the answer, q_halt, the segment of the first halt and the rule check", () => {
    expect(
      lines.map(({ puzzle, halts_at, exact, q_halt }) => [puzzle, halts_at, exact, q_halt]),
    ).to.deep.equal([
      [1, 3, false, -3],
      [2, 1, true, -1],
      [6, null, true, -4],
    ]);
    expect(lines.map(({ segments }) => segments)).to.deep.equal([4, 2, 4]);
    expect(lines[2]!.obeys_rules).to.equal(false);
    expect(lines.map(({ prediction }) => prediction)).to.deep.equal(
      [label, label, wrong].map((c) => task.format(c)),
    );
  });

  it("are read back from CSV, with spaces at the ends of a cell", () => {
    const csv = encodePredictions(lines, "csv");
    expect(csv.split("\r\n")[0]).to.equal(
      "puzzle,question,prediction,answer,exact,obeys_rules,q_halt,segments,halts_at",
    );
    const back = readPuzzleCsv(new TextEncoder().encode(csv), task);
    expect([...back.inputs]).to.deep.equal([...set.inputs]);
    expect([...back.labels]).to.deep.equal([...set.labels]);
  });

  it("are read back from JSON Lines", () => {
    const back = encodePredictions(lines, "jsonl").trimEnd().split("\n");
    expect(back.map((line) => JSON.parse(line) as unknown)).to.deep.equal(lines);
  });
});
