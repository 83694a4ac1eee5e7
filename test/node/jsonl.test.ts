import { assert } from "chai";
import { FileFormatError, readPuzzleJsonl, writePuzzleJsonl } from "../../hrm/files/puzzles/index.js";
import { gridTask, IGNORE_LABEL, puzzleSet, sudokuTask } from "../../hrm/puzzles/index.js";

const bytes = (...lines: unknown[]): Uint8Array =>
  new TextEncoder().encode(lines.map((l) => (typeof l === "string" ? l : JSON.stringify(l))).join("\n"));
const P = {
  input: [
    [1, 2],
    [0, 3],
  ],
  label: [
    [1, 2],
    [null, 3],
  ],
};

const Q = "1..4..1221....2.";
const A = "1234341221434321";
const rows = Q.match(/.{4}/g)!;

describe("puzzle JSON lines", () => {
  it("reads grids, flat lists, ignored labels and identifiers; sizes follow from the file", () => {
    const { task, set } = readPuzzleJsonl(bytes(P, "", { ...P, identifier: 2 }));
    assert.deepEqual(
      [task.name, task.rows, task.columns, task.vocabSize, task.numPuzzleIdentifiers],
      ["grid-2x2-v4", 2, 2, 4, 3],
    );
    assert.deepEqual([...set.inputs], [1, 2, 0, 3, 1, 2, 0, 3]);
    assert.deepEqual([...set.labels.subarray(0, 4)], [1, 2, IGNORE_LABEL, 3]);
    assert.deepEqual([...set.identifiers], [0, 2]);
    const flat = readPuzzleJsonl(bytes({ vocabSize: 9 }, { input: [1, 2, 3], label: [3, 2, 1] }));
    assert.deepEqual([flat.task.rows, flat.task.columns, flat.task.vocabSize], [1, 3, 9]);
  });

  it("with a task, puzzles must fit it", () => {
    const grid = Array.from({ length: 4 }, () => [1, 2, 3, 4]);
    const { task } = readPuzzleJsonl(bytes({ input: grid, label: grid }), sudokuTask(4));
    assert.equal(task.name, "sudoku4");
    assert.throws(
      () => readPuzzleJsonl(bytes(P), sudokuTask(4)),
      FileFormatError,
      /2 rows of 2; expected 4 of 4/,
    );
    const large = [[6, ...Array<number>(15).fill(1)]];
    assert.throws(
      () => readPuzzleJsonl(bytes({ input: large, label: large }), sudokuTask(4)),
      FileFormatError,
      /column 1 is 6; expected an integer from 0 to 5/,
    );
  });

  it("what is written reads back", () => {
    const task = gridTask({ rows: 2, columns: 2, vocabSize: 7, numPuzzleIdentifiers: 4 });
    const records = [
      { source: "", input: Int32Array.of(1, 2, 3, 4), label: Int32Array.of(1, -100, 3, 6), rating: 0 },
      {
        source: "",
        input: Int32Array.of(1, 2, 3, 0),
        label: Int32Array.of(1, 2, 3, 0),
        rating: 0,
        identifier: 3,
      },
    ];
    const back = readPuzzleJsonl(new TextEncoder().encode(writePuzzleJsonl(records, task)));
    assert.deepEqual(back.set, puzzleSet(records, 4));
    assert.deepEqual(
      [back.task.name, back.task.numPuzzleIdentifiers],
      [task.name, task.numPuzzleIdentifiers],
    );
  });

  const texts: [string, unknown[]][] = [
    ["texts", [{ source: "x", question: Q, answer: A, rating: 0 }]],
    ["puzzle and solution", [{ id: 1, puzzle: Q, solution: A }]],
    [
      "prose with rows",
      [
        {
          question: `Solve:\n${rows.map((r) => [...r].join(" ").replaceAll(".", "_")).join("\n")}`,
          answer: A.match(/.{4}/g)!
            .map((r) => [...r].join(" "))
            .join("\n"),
          metadata: { puzzle: [[9]] },
        },
      ],
    ],
    [
      "rows of digits",
      [
        {
          puzzle: rows.map((r) => [...r].map((c) => (c === "." ? 0 : Number(c)))),
          solution: A.match(/.{4}/g)!.map((r) => [...r].map(Number)),
        },
      ],
    ],
    ["a list of objects", [`[${JSON.stringify({ question: Q, answer: A })}]`]],
    ["a list over several lines", [JSON.stringify([{ question: Q, answer: A }], null, 2)]],
  ];
  for (const [what, lines] of texts) {
    it(`reads Sudoku as text: ${what}`, () => {
      const { task, set } = readPuzzleJsonl(bytes(...lines));
      assert.equal(task.name, "sudoku4");
      assert.deepEqual([task.format(set.inputs), task.format(set.labels)], [Q, A]);
    });
  }

  it("says which keys are not used, and reads keys that are named", () => {
    const { notes } = readPuzzleJsonl(bytes({ ...P, rating: 1, answer: 3 }));
    assert.match(notes.join(), /keys "rating, answer" of the file are not used/);
    const named = bytes({ a: Q, b: A });
    assert.throws(() => readPuzzleJsonl(named), FileFormatError, /--columns question=KEY/);
    const { set } = readPuzzleJsonl(named, undefined, "x", { columns: { question: "a", answer: "b" } });
    assert.equal(set.count, 1);
    assert.throws(
      () => readPuzzleJsonl(named, undefined, "x", { columns: { question: "c" } }),
      FileFormatError,
      /no key "c" for the question; got "a, b"/,
    );
  });

  const refused: [string, unknown[], RegExp, number | undefined][] = [
    ["nothing", [], /no puzzles/, undefined],
    ["a header alone", [{ vocabSize: 3 }], /no puzzles/, undefined],
    ["a line that is no JSON", [P, "{oops"], /not JSON/, 2],
    ["a list", ["[1, 2]"], /expected an object/, 1],
    ["a missing label", [{ input: [1] }], /label is nothing/, 1],
    ["an unknown header key", [{ vocab: 3 }, P], /the keys "vocab"/, 1],
    ["texts without answers", [{ question: Q }], /comes without its answer/, 1],
    [
      "a question that is no text",
      [
        { question: Q, answer: A },
        { question: 3, answer: A },
      ],
      /question is 3/,
      2,
    ],
    [
      "an ARC task",
      [{ train: [{ input: [[1]], output: [[2]] }], test: [] }],
      /an ARC task.*are not read as puzzles/,
      1,
    ],
    ["ARC tasks", [{ a: { train: [{ input: [[1]], output: [[2]] }] } }], /an ARC task/, 1],
    [
      "one long row among many empty ones",
      [{ input: [Array<number>(1e5).fill(1), ...Array<number[]>(1e5).fill([])], label: [1] }],
      /row 2 has 0 tokens; expected 100000/,
      1,
    ],
    ["a header of the wrong type", [{ vocabSize: "3" }, P], /vocabSize is "3"/, 1],
    ["a token above the vocabulary", [{ vocabSize: 3 }, P], /input row 2, column 2 is 3; .* 0 to 2/, 2],
    ["a fraction", [{ input: [0.5], label: [1] }], /column 1 is 0.5/, 1],
    ["an ignored input", [{ input: [null], label: [1] }], /column 1 is null/, 1],
    ["ragged rows", [{ input: [[1], [1, 2]], label: [[1], [2]] }], /row 2 has 2 tokens; expected 1/, 1],
    ["another size", [P, { input: [[1, 2]], label: [[1, 2]] }], /input has 1 rows of 2; expected 2 of 2/, 2],
    ["a label of another size", [{ input: [[1, 2]], label: [[1]] }], /label has 1 rows of 1/, 1],
    ["a negative identifier", [{ ...P, identifier: -1 }], /identifier is -1/, 1],
    ["an empty grid", [{ input: [], label: [] }], /input is \[\]/, 1],
    ["an empty row", [{ input: [[]], label: [[]] }], /empty row/, 1],
  ];
  for (const [what, lines, message, line] of refused) {
    it(`refuses ${what}`, () => {
      try {
        readPuzzleJsonl(bytes(...lines), undefined, "my.jsonl");
      } catch (error) {
        assert.instanceOf(error, FileFormatError);
        assert.match((error as Error).message, message);
        assert.equal(error.line, line);
        return;
      }
      assert.fail("nothing was thrown");
    });
  }
});
