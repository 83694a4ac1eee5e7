/** Puzzles without answers: lists, boards, and answers written for all of them. */
import { assert } from "chai";
import { answersText, answersTo } from "../../hrm/cli/commands/solve_all.js";
import { readPuzzleText } from "../../hrm/files/puzzles/index.js";
import { sudokuTask } from "../../hrm/puzzles/index.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const PUZZLES = ["1.422...4.....1.", "3..41...2...4..1"];
const board = (text: string, end = "\n"): string => (text.match(/.{4}/g) ?? []).join(end);

describe("puzzles without answers", () => {
  const lists: [string, string][] = [
    ["a line each", PUZZLES.join("\n")],
    ["comments", `# a list\n${PUZZLES.join("\n# next\n")}\n`],
    ["hash, puzzle and rating", PUZZLES.map((p, i) => `00000000000${i} ${p}  1.${i}\n`).join("")],
    ["0 for blanks", PUZZLES.join("\r\n").replaceAll(".", "0")],
    ["a column alone", `puzzle\n${PUZZLES.join("\n")}\n`],
    ["boards with titles", PUZZLES.map((p, i) => `Grid 0${i}\n${board(p)}\n`).join("")],
    ["boards with frames", PUZZLES.map((p) => `+----+\n|${board(p, "|\n|")}|\n+----+\n\n`).join("")],
    ["sections", PUZZLES.map((p) => `#A me\n[Puzzle]\n${board(p)}\n[State]\n${board(p)}\n`).join("")],
  ];
  for (const [what, text] of lists) {
    it(`reads ${what}`, () => {
      const { task, set, answered } = readPuzzleText(bytes(text), "list", { needsAnswers: false });
      assert.deepEqual([task.name, set.count, answered], ["sudoku4", 2, false]);
      assert.equal(task.format(set.inputs.subarray(0, 16)), PUZZLES[0]);
      assert.equal(task.format(set.inputs.subarray(16)), PUZZLES[1]);
    });
  }

  it("refuses a board that ends early, with the line on which it begins", () => {
    const text = `${board(PUZZLES[0]!)}\n\n${board(PUZZLES[1]!).slice(0, 9)}`;
    assert.throws(
      () => readPuzzleText(bytes(text), "x.sdk", { needsAnswers: false }),
      /ends after 2 of its 4 rows \(x.sdk, line 6\)/,
    );
  });

  it("answers all puzzles, and names those that have no answer", async () => {
    const task = sudokuTask(4);
    const { set } = readPuzzleText(bytes(`${PUZZLES[0]}\n11..............\n`), "x", { needsAnswers: false });
    const solution = task.parse("1342243141233214");
    const answers = await answersTo(set, task, () => Promise.resolve(solution));
    assert.equal(
      answersText(answers, false),
      `question,answer,solved,problem\n${PUZZLES[0]},1342243141233214,true,\n11..............,,false,two 1 in row 1\n`,
    );
    assert.lengthOf(answersText(answers, true).trim().split("\n"), 2);
  });
});
