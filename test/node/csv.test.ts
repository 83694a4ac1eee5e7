import { assert } from "chai";
import {
  FileFormatError,
  firstQuestion,
  readPuzzleCsv,
  writePuzzleCsv,
} from "../../hrm/files/puzzles/index.js";
import { generateMazes, generateSudoku, mazeTask, puzzleSet, sudokuTask } from "../../hrm/puzzles/index.js";
import { sharedData } from "../support/shared_data.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const Q = "1..4..1221....2.";
const A = "1234341221434321";
const task = sudokuTask(4);
/** The line on which the row of the puzzle begins. */
const lineOf = (text: string): number =>
  1 + text.split(/\r\n|\r|\n/).findIndex((line) => /1[^,;]{2}4|a, b/.test(line));
const wanted = { question: [...task.decode(Q)], answer: [...task.decode(A)] };

describe("puzzle CSV", () => {
  const accepted: [string, string][] = [
    ["the official header", `source,question,answer,rating\ns,${Q},${A},0\n`],
    ["no header", `s,${Q},${A},0\n`],
    ["question and answer alone", `${Q},${A}`],
    ["columns in another order", `Answer,Question\n${A},${Q}\n`],
    ["CR LF, a byte-order mark and empty lines", `\ufeffquestion,answer\r\n\r\n${Q},${A}\r\n\r\n`],
    ["quoted fields with commas and quotes", `"a, ""b""",${Q},"${A}",3\n`],
    ["lines of spaces alone", `  \ns,${Q},${A},0\n   \r\n\t\n`],
    ["no rating, and columns that nobody asked for", `id,answer,question,note\n7,${A},${Q},"a, b"\n`],
    ["the names of other collections", `quizzes,solutions\n${Q},${A}\n`],
    ["puzzle and solution", `id,puzzle,solution,clues,difficulty\n1,${Q},${A},6,2.2\n`],
    ["quoted names and fields", `"source","question","answer","rating"\r\n"s","${Q}","${A}","0"\r\n`],
    ["CR alone at the ends of lines", `question,answer\r${Q},${A}\r`],
    ["a quoted field with line breaks", `source,question,answer\n"a, b\n\n""c"" d",${Q},${A}\n`],
    ["semicolons", `puzzle;solution\n${Q};${A}\n`],
    ["tabs", `puzzle\tsolution\n${Q}\t${A}\n`],
    ["a comma and a space", `puzzle, solution\n${Q}, ${A}\n`],
    ["a comma, a space and quotes", `"puzzle", "solution"\n"${Q}", "${A}"\n`],
    ["a line sep=", `sep=;\r\npuzzle;solution\r\n${Q};${A}\r\n`],
    ["comments", `# made by a script\npuzzle,solution\n# a puzzle\n${Q},${A}\n`],
    ["an index without a name", `,puzzle,solution\n0,${Q},${A}\n`],
    ["the names of benchmarks", `puzzle_id,rows,cols,initial_board,solution\np0,4,4,${Q},${A}\n`],
    ["input and output", `input,output\n${Q},${A}\n`],
    ["Unsolved Sudoku", `Unsolved Sudoku,Solved Sudoku\n${Q},${A}\n`],
    ["names that say nothing", `a,b,c\n1,${Q},${A}\n`],
    ["puzzle and answer in front, without a header", `${Q},${A},6,1.2\n`],
    ["puzzle and answer behind an id and a date", `7,2020-01-01,${Q},${A},6\n`],
    ["an answer before its puzzle, without a header", `7,${A},${Q}\n`],
    ["puzzle and answer between spaces", `${Q}  ${A}\n`],
    ...["_", "-", "*", "x", "?", " ", "~"].map((blank): [string, string] => [
      `${JSON.stringify(blank)} for blanks`,
      `puzzle,solution\n${Q.replaceAll(".", blank)},${A}\n`,
    ]),
    ["boards of several lines in quotes", `puzzle,solution\n"${Q.match(/.{4}/g)!.join("\n")}","${A}"\n`],
    ["a separator at the ends of lines", `puzzle,solution\n${Q},${A},\n`],
    ["0 for blanks", `s,${Q.replaceAll(".", "0")},${A},0\n`],
  ];
  for (const [what, text] of accepted) {
    it(`reads ${what}`, () => {
      const set = readPuzzleCsv(bytes(text), task);
      assert.equal(set.count, 1);
      assert.deepEqual([...set.inputs], wanted.question);
      assert.deepEqual([...set.labels], wanted.answer);
      const first = firstQuestion(bytes(text));
      assert.deepEqual([...task.decode(first.question)], wanted.question);
      assert.equal(first.line, lineOf(text));
    });
  }

  const refused: [string, string, RegExp, number | undefined][] = [
    ["an empty file", "", /no puzzles/, undefined],
    ["a header alone", "source,question,answer,rating\n", /no puzzles/, undefined],
    [
      "a short question",
      `s,${Q},${A},0\ns,${Q.slice(1)},${A},0\n`,
      /question: .*15 characters; expected 16/,
      2,
    ],
    ["a foreign character", `s,x${Q.slice(1)},${A},0\n`, /question: .*"x" as character 1/, 1],
    ["a missing field", `s,${Q},${A},0\ns,${Q},${A}\n`, /3 fields; expected 4/, 2],
    ["a wrong answer", `s,${Q},${A.replace("12", "21")},0\n`, /does not solve.*character 1, 2/, 1],
    ["an answer with a hole", `s,${Q},${A.slice(0, 15)}.,0\n`, /does not solve.*not complete/, 1],
    ["an open quote", `"s,${Q},${A},0\n`, /no closing quote/, 1],
    [
      "an open quote before many rows",
      `s,${Q},${A},0\n"${`s,${Q},${A},0\n`.repeat(1000)}`,
      /no closing quote/,
      2,
    ],
    ["text after a quote", `"s"t,${Q},${A},0\n`, /goes on after its closing quote/, 1],
    ["one column", "hello\n", /expected source,question,answer,rating/, 1],
    ["a header without answers", `question,rating\n${Q},0\n`, /comes without its answer.*hrm solve/, 2],
    [
      "a header without questions",
      `solution,rating\n${A},0\n`,
      /names answers but no questions.*--columns/,
      1,
    ],
    ["an empty answer", `${Q},${A}\n${Q},\n`, /comes without its answer/, 2],
    ["a list of puzzles", `${Q}\n${Q}\n`, /comes without its answer/, 1],
    ["a row of commas alone", `${Q},${A}\n${",".repeat(100_000)}\n`, /more than 4096 fields/, 2],
    [
      "a number with an exponent",
      `${Q},${A}\n${Q},1.23424E+15\n`,
      /took the puzzle for a number and rounded/,
      2,
    ],
    [
      "leading zeros eaten",
      `${A},${A}\n${Q.replaceAll(".", "0").slice(1)},${A}\n`,
      /dropped its leading zeros/,
      2,
    ],
    ["two blanks of different kinds", `?${Q.slice(1)},${A}\n`, /"\?" as character 1/, 1],
  ];
  for (const [what, text, message, line] of refused) {
    it(`refuses ${what}`, () => {
      try {
        readPuzzleCsv(bytes(text), task, "my.csv");
      } catch (error) {
        assert.instanceOf(error, FileFormatError);
        assert.match((error as Error).message, message);
        assert.include((error as Error).message, "my.csv");
        assert.equal(error.line, line);
        return;
      }
      assert.fail("nothing was thrown");
    });
  }

  it("refuses bytes that are no UTF-8, with the line", () => {
    const broken = bytes(`s,${Q},${A},0\ns,${Q},${A},0\n`);
    broken[broken.length - 3] = 0xff;
    assert.throws(() => readPuzzleCsv(broken, task), FileFormatError, /not UTF-8 text \(the file, line 2\)/);
  });

  it("keeps spaces at both ends of maze rows", function () {
    const set = readPuzzleCsv(sharedData(this, "maze/maze-10x10-train.csv"), mazeTask(10));
    const ends = Array.from({ length: set.count }, (_, i) => [set.inputs[i * 100], set.inputs[i * 100 + 99]]);
    assert.isTrue(ends.some(([first]) => first === 2));
    assert.isTrue(ends.some(([, last]) => last === 2));
  });

  it("keeps spaces at both ends of maze rows that are quoted, or that end a line", () => {
    const maze = mazeTask(3);
    // S and G in the middle, open at both ends.
    const [question, answer] = [" #  S G# ", " #  S G# "].map((cells) => cells.replace("S G", "SG "));
    for (const text of [
      `"${question}","${answer}"\r\n`,
      `${question},${answer}\r\n`,
      `${question},${answer}`,
    ]) {
      const set = readPuzzleCsv(bytes(text), maze);
      assert.deepEqual([set.inputs[0], set.inputs[8], set.labels[8]], [2, 2, 2], text);
    }
    const trimmed = `${question},${answer}`.trim();
    assert.throws(
      () => readPuzzleCsv(bytes(trimmed), maze),
      FileFormatError,
      /question: .*8 characters; expected 9/,
    );
  });

  for (const [name, make] of [
    ["sudoku", () => ({ task: sudokuTask(6), records: generateSudoku({ size: 6, count: 5, seed: 3 }) })],
    ["maze", () => ({ task: mazeTask(8), records: generateMazes({ side: 8, count: 5, seed: 3 }) })],
  ] as const) {
    it(`what is written of a ${name} reads back`, () => {
      const { task: kind, records } = make();
      const odd = records.map((record, i) => ({
        ...record,
        source: `a "quoted", source\non two lines ${i}`,
      }));
      const set = readPuzzleCsv(bytes(writePuzzleCsv(odd, kind)), kind);
      assert.deepEqual(set, puzzleSet(records, kind.length));
    });
  }
});
