/** `hrm search`: what a sweep spans, how options are ranked, and that a search which is killed goes on as if it had not been. */
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { ArgumentError } from "../../hrm/terminal/arguments.js";
import { drawn, everyCombination, parseSweep, presetsOf, rungSteps } from "../../hrm/cli/search/config.js";
import { appendTrial, readSearchLog, type TrialLine } from "../../hrm/cli/search/log.js";
import { flopsLeft, stateOf, type CostedSearch } from "../../hrm/cli/search/trials.js";
import { keptCount, rankOptions, type TrialScore } from "../../hrm/cli/search/ranking.js";
import { differingFields, explainRanking } from "../../hrm/cli/search/table.js";
import { findPreset } from "../../hrm/training/presets.js";
import { json, run, start } from "../support/command_line.js";

const sweep = { preset: "maze7", options: { lr: [1e-3, 2e-3], bp_steps: [2, 3] }, rungs: [10, 20] };

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    assert.instanceOf(error, ArgumentError);
    return (error as Error).message;
  }
  throw new Error("nothing was refused");
}

describe("the options of a search", () => {
  it("are all combinations of the values, the last field varying fastest", () => {
    const { options, seeds, keep, measure } = parseSweep({ ...sweep, seeds: [3, 4] }, "file");
    assert.deepEqual(
      options.map(({ fields }) => fields),
      [
        { lr: 1e-3, bp_steps: 2 },
        { lr: 1e-3, bp_steps: 3 },
        { lr: 2e-3, bp_steps: 2 },
        { lr: 2e-3, bp_steps: 3 },
      ],
    );
    assert.deepEqual([seeds, keep, measure], [[3, 4], 0.5, "exact"]);
  });

  it("are drawn without repeats, the same ones for the same seed, from a grid too large to list", () => {
    const axes = Array.from({ length: 40 }, (_, i) => [`f${i}`, [1, 2, 3, 4]] as const);
    const some = drawn(axes, 50, 7);
    assert.equal(new Set(some.map((fields) => JSON.stringify(fields))).size, 50);
    assert.deepEqual(drawn(axes, 50, 7), some);
    assert.notDeepEqual(drawn(axes, 50, 8), some);
    const small = [["a", [1, 2]] as const, ["b", [1, 2, 3]] as const];
    assert.sameDeepMembers(drawn(small, 6, 0), everyCombination(small));
  });

  it("may be listed one by one, and name the fields in which they differ", () => {
    const trials = [{}, { lr: 1e-3, bp_steps: 2 }, { lr: 2e-3, bp_steps: 2 }];
    const { preset, rungs } = sweep;
    const { options } = parseSweep({ preset, rungs, trials }, "file");
    assert.deepEqual(
      options.map(({ fields }) => fields),
      trials,
    );
    assert.deepEqual(differingFields(trials), ["lr", "bp_steps"]);
    assert.deepEqual(differingFields(trials.slice(1)), ["lr"]);
  });

  for (const [name, change, ...words] of [
    ["an unknown field", { measures: "exact" }, '"measures"', "Did you mean measure?"],
    ["an unknown option", { options: { weight_decy: [1] } }, '"weight_decy"', "Did you mean weight_decay?"],
    ["an unknown field of the base", { base: { learning_rate: 1 } }, "base", '"learning_rate"'],
    ["an option that is no list", { options: { lr: 1e-3 } }, "options.lr: got 0.001", "a list"],
    ["an option without values", { options: { lr: [] } }, "options.lr: got []", "at least one"],
    ["no option at all", { options: {} }, "options: got an object", "at least one"],
    ["a value twice", { options: { lr: [1, 1] } }, "options.lr", "1 stands there twice"],
    ["a field in base and options", { base: { lr: 1 } }, "base.lr: got 1", "in one place"],
    ["options and trials", { trials: [{}] }, "both of options and trials"],
    ["neither", { options: undefined }, "neither of options and trials"],
    [
      "equal trials",
      {
        options: undefined,
        trials: [
          { lr: 1, beta1: 0 },
          { beta1: 0, lr: 1 },
        ],
      },
      "twice",
    ],
    ["no seeds", { seeds: [] }, "seeds: got []"],
    ["a seed below 0", { seeds: [-1] }, "seeds: got -1"],
    ["rungs that do not ascend", { rungs: [20, 10] }, "rungs: got [20, 10]", "ascend"],
    ["equal rungs", { rungs: [10, 10] }, "rungs", "twice"],
    ["no rungs", { rungs: undefined }, "rungs: got nothing"],
    ["a rung at step 0", { rungs: [0] }, "rungs: got 0"],
    ["rungs of two kinds", { rungs: [10, "1 TFLOP"] }, "all of them in steps"],
    ["another unit", { rungs: ["1 PFLOP"] }, 'rungs: got "1 PFLOP"', "TFLOP"],
    ["a share of nothing", { keep: 0 }, "keep: got 0"],
    ["more than all", { keep: 1.5 }, "keep: got 1.5"],
    ["another measure", { measure: "loss" }, 'measure: got "loss"', "exact, cells"],
    ["more samples than combinations", { sample: 5 }, "sample: got 5", "from 1 to 4"],
    ["a seed without a sample", { seed: 1 }, "seed: got 1", '"sample"'],
    ["too many trials", { seeds: Array.from({ length: 2501 }, (_, i) => i) }, "at most 10000 trials"],
    ["a test without training puzzles", { test: "a.csv" }, 'test: got "a.csv"'],
    ["no preset", { preset: undefined }, "preset: got nothing"],
  ] as const) {
    it(`are refused with a message: ${name}`, () => {
      const given = Object.fromEntries(
        Object.entries({ ...sweep, ...change }).filter(([, value]) => value !== undefined),
      );
      const message = refusal(() => parseSweep(given, "--config f.json"));
      assert.include(message, "--config f.json: ");
      for (const word of words) assert.include(message, word);
    });
  }

  it("are held to the rules of the configuration before the first trial", () => {
    const maze = findPreset("maze7")!;
    const of = (options: object, base: object = {}): string =>
      refusal(() => presetsOf(parseSweep({ ...sweep, options, base }, "f"), maze, "f"));
    assert.include(of({ lr: [1e-3, -1] }), "f: options.lr: got -1");
    assert.include(of({ seq_len: [49, 50] }), "f: options.seq_len: got 50");
    assert.include(of({ lr: [1] }, { hidden_size: "wide" }), 'f: base.hidden_size: got "wide"');
    const sudoku = findPreset("sudoku4")!;
    const augmented = parseSweep({ ...sweep, options: { augment: [false, true] } }, "f");
    assert.include(
      refusal(() => presetsOf(augmented, sudoku, "f")),
      "f: options.augment: got true",
    );
  });

  it("have rungs in steps of their plan, converted from TFLOP by the cost of a step", () => {
    const of = { flops: 2e9, totalSteps: 1000, fields: { lr: 1 } };
    const steps = (rungs: unknown[], options = of): number[] =>
      rungSteps(parseSweep({ ...sweep, rungs }, "f"), options, "f");
    assert.deepEqual(steps([10, 1000]), [10, 1000]);
    assert.deepEqual(steps(["0.5 TFLOP", "2TFLOP"]), [250, 1000]);
    assert.include(
      refusal(() => steps([10, 1001])),
      "got 1001 for lr 1; expected at most 1000",
    );
    assert.include(
      refusal(() => steps(["2.1 TFLOP"])),
      "got 2.1 TFLOP, which is 1050 steps",
    );
    assert.include(
      refusal(() => steps(["0.0001 TFLOP", "0.0002 TFLOP"])),
      "at least one step apart",
    );
  });
});

const score = (option: number, seed: number, exact: number, cells = 0.5): TrialScore => ({
  ...{ option, seed, exact, count: 100, cellAccuracy: cells, divergedAt: null },
});
const order = (scores: TrialScore[], keep = 1): number[] =>
  rankOptions(scores, { measure: "exact", keep }).standings.map(({ option }) => option);

describe("the ranking of options", () => {
  it("goes by the mean over seeds, then by cells, then by the order in the file", () => {
    assert.deepEqual(order([score(0, 0, 90), score(0, 1, 10), score(1, 0, 60), score(1, 1, 60)]), [1, 0]);
    assert.deepEqual(order([score(0, 0, 5, 0.4), score(1, 0, 5, 0.6)]), [1, 0]);
    assert.deepEqual(order([score(1, 0, 5), score(0, 0, 5)]), [0, 1]);
  });

  it("marks what is within two standard errors of the best, by the spread over seeds and by the puzzles", () => {
    const marks = (...exact: [number, number][]): (boolean | null)[] =>
      rankOptions(
        exact.flatMap(([a, b], option) => [score(option, 0, a), score(option, 1, b)]),
        { measure: "exact", keep: 1 },
      ).standings.map(({ likeBest }) => likeBest);
    assert.deepEqual(marks([90, 92], [20, 22]), [true, false]);
    // The puzzles alone leave some points open.
    assert.deepEqual(marks([50, 50], [48, 48]), [true, true]);
    // Seeds that differ by 60 points say nothing about 20.
    assert.deepEqual(marks([90, 30], [70, 10]), [true, true]);
  });

  it("says what decided the cut", () => {
    const cut = (...scores: TrialScore[]) => rankOptions(scores, { measure: "exact", keep: 1 }).cut;
    assert.equal(cut(score(0, 0, 90), score(1, 0, 10)), "clear");
    assert.equal(cut(score(0, 0, 50), score(1, 0, 49)), "chance");
    assert.equal(cut(score(0, 0, 0, 0.6), score(1, 0, 0, 0.5)), "cells");
    assert.equal(cut(score(0, 0, 0), score(1, 0, 0)), "order");
    assert.equal(cut(score(0, 0, 0)), null);
    const byCells = rankOptions([score(0, 0, 0, 0.6), score(1, 0, 0, 0.5)], { measure: "cells", keep: 1 });
    assert.equal(byCells.cut, "unknown");
    const text = explainRanking(byCells, { measure: "cells", seeds: [0] }).join(" ");
    assert.include(text, "more seeds would");
    assert.include(text, "There is one seed");
  });

  it("puts options that left the finite numbers last, and lets none of them go on", () => {
    const lost = { ...score(0, 1, 0), count: 0, divergedAt: 7 };
    const { standings } = rankOptions([score(0, 0, 99), lost, score(1, 0, 1), score(1, 1, 1)], {
      ...{ measure: "exact", keep: 2 },
    });
    assert.deepEqual(
      standings.map(({ option, kept }) => [option, kept]),
      [
        [1, true],
        [0, false],
      ],
    );
  });

  it("keeps a share rounded up, and at least one", () => {
    assert.deepEqual(
      [keptCount(4, 0.5), keptCount(3, 0.5), keptCount(3, 0.01), keptCount(100, 0.55), keptCount(5, 1)],
      [2, 2, 1, 55, 5],
    );
  });
});

const lineOf = (option: number, seed: number, rung: number, exact: number): TrialLine => ({
  ...{
    ...score(option, seed, exact),
    rung,
    fields: { lr: option },
    step: 10 * (rung + 1),
    tflop: 1,
    seconds: 1,
  },
  ...{ exactAccuracy: exact / 100, exactInterval: [0, 1], loss: 1, meanSteps: 4, adapter: "a", version: "v" },
});
const plan: CostedSearch = {
  sweep: parseSweep({ ...sweep, options: { lr: [0, 1, 2, 3] }, seeds: [0, 1] }, "file"),
  options: [0, 1, 2, 3].map((lr) => ({
    ...{ fields: { lr }, preset: findPreset("maze7")!, flops: 2, steps: [10, 20] },
  })),
};

describe("the state of a search", () => {
  it("follows from the finished trials, in whatever order they stand", () => {
    const begun = stateOf(plan, []);
    assert.equal(begun.missing.length, 8);
    // 8 trials to step 10, then 2 options with 2 seeds for 10 steps more.
    assert.equal(flopsLeft(plan, begun), 2 * (8 * 10 + 4 * 10));
    const first = [3, 1, 2, 0].flatMap((option) =>
      [1, 0].map((seed) => lineOf(option, seed, 0, 10 * option)),
    );
    assert.deepEqual(stateOf(plan, first.slice(1)).missing, [{ option: 3, seed: 1 }]);
    const second = stateOf(plan, first);
    assert.deepEqual(
      second.missing.map(({ option, seed }) => [option, seed]),
      [
        [2, 0],
        [2, 1],
        [3, 0],
        [3, 1],
      ],
    );
    assert.equal(flopsLeft(plan, second), 2 * 4 * 10);
  });

  it("is read from lines of this search alone; a line that was not finished is found", async () => {
    const folder = await mkdtemp(join(tmpdir(), "hrm-search-"));
    const planned = { options: plan.options, seeds: [0, 1], steps: plan.options.map(({ steps }) => steps) };
    const damage = async (text: string): Promise<string> => {
      await writeFile(join(folder, "search.jsonl"), text);
      return readSearchLog(folder, planned).then(
        () => "nothing was refused",
        (error: unknown) => {
          assert.instanceOf(error, ArgumentError);
          return (error as Error).message;
        },
      );
    };
    try {
      assert.deepEqual(await readSearchLog(folder, planned), { lines: [], whole: 0, torn: false });
      const lines = [lineOf(0, 0, 0, 5), lineOf(0, 1, 0, 6)];
      for (const line of lines) await appendTrial(folder, line);
      assert.deepEqual((await readSearchLog(folder, planned)).lines, lines);
      await appendFile(join(folder, "search.jsonl"), '{"option":1,"se');
      const torn = await readSearchLog(folder, planned);
      assert.isTrue(torn.torn);
      assert.deepEqual(torn.lines, lines);
      const text = JSON.stringify(lines[0]);
      assert.include(
        await damage(`${text}\n${text}\n`),
        "line 2: got option 0, seed 0, rung 0 a second time",
      );
      assert.include(await damage(`\u0000\n${text}\n`), "line 1");
      assert.include(await damage("null\n"), "got nothing as its option");
      assert.include(await damage(`${text.replace('"seed":0', '"seed":5')}\n`), "seed 5");
      assert.include(await damage(`${text.replace('"lr":0', '"lr":9')}\n`), "got other fields");
      assert.include(await damage(`${text.replace('"step":10', '"step":11')}\n`), "got step 11");
      assert.include(await damage(`${text.replace('"exact":5', '"exact":101')}\n`), "101 exact of 100");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("hrm search", () => {
  it("killed between and in trials and resumed, ends with the table of one left alone @slow", async function () {
    this.timeout(300_000);
    const folder = await mkdtemp(join(tmpdir(), "hrm-search-"));
    try {
      const small = { hidden_size: 8, num_heads: 2, batch_size: 4, total_steps: 40, halt_max_steps: 2 };
      const tiny = {
        ...{ preset: "sudoku4", base: small, options: { lr: [1e-4, 4e-3, 1e37] }, seeds: [0, 1] },
        ...{ rungs: [10, 30], puzzles: 32, measure: "cells" },
      };
      await writeFile(join(folder, "tiny.json"), JSON.stringify(tiny));
      const plan = ["search", "--config", "tiny.json"];
      const alone = await run(folder, ...plan, "--out", "alone", "--json");
      assert.equal(alone.code, 0, alone.stderr);

      const killed = join("killed", "search-tiny");
      const first = start(folder, ...plan, "--out", "killed");
      await first.said(/^trial .*option 0 .*seed 1/m);
      assert.isTrue(first.child.kill("SIGKILL"));
      await first.done;
      const log = join(folder, killed, "search.jsonl");
      const before = String(await readFile(log));
      await appendFile(log, '{"option":1,"seed":0,"ru');
      const second = start(folder, "search", "--resume", killed);
      await second.said(/^trial .*rung 2.*seed 0/m);
      assert.isTrue(second.child.kill("SIGINT"));
      const stopped = await second.done;
      assert.equal(stopped.code, 130, stopped.stderr);
      assert.include(stopped.stderr, `search --resume ${killed}`);
      assert.match(stopped.stderr, /^warning .*was not finished; it is dropped/m);
      const resumed = await run(folder, "search", "--resume", killed, "--json");
      assert.equal(resumed.code, 0, resumed.stderr);
      assert.isTrue(String(await readFile(log)).startsWith(before), "finished trials were changed");

      const [a, b] = [json(alone), json(resumed)];
      assert.deepEqual(b["options"], a["options"]);
      assert.deepEqual([b["best"], b["trials"], b["tflop"]], [a["best"], a["trials"], a["tflop"]]);
      const table = ({ stderr }: { stderr: string }): string => stderr.slice(stderr.lastIndexOf("\noption "));
      const linesOf = (text: string): string[] => text.split("\n").slice(0, 5);
      assert.deepEqual(linesOf(table(resumed)), linesOf(table(alone)));
      assert.include(table(alone), "diverged at");
      const done = await run(folder, "search", "--resume", killed, "--json");
      assert.deepEqual(json(done)["options"], a["options"]);
      assert.notMatch(done.stderr, /^trial /m);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
