/** `hrm ablate`: its variants, equal operations, the table over seeds, and a stop with Ctrl-C. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { chosenVariants, parseBudget, planAblation } from "../../hrm/cli/ablation/plan.js";
import { ablationMarkdown, ablationRows, ablationTable } from "../../hrm/cli/ablation/report.js";
import { variantNames } from "../../hrm/cli/ablation/variants.js";
import { parseSweep } from "../../hrm/cli/search/config.js";
import type { TrialLine } from "../../hrm/cli/search/log.js";
import { costSearch } from "../../hrm/cli/search/trials.js";
import { modelConfig } from "../../hrm/model/config.js";
import { findPreset, type Preset } from "../../hrm/training/presets.js";
import { ArgumentError } from "../../hrm/terminal/arguments.js";
import { json, run, start } from "../support/command_line.js";

const usual = findPreset("sudoku4")!;
const base = { hidden_size: 8, num_heads: 2, batch_size: 4, halt_max_steps: 2 };
const tiny: Preset = { ...usual, model: modelConfig({ ...usual.model, ...base }) };
const BUDGET = 1e9;
const makeOnce = () => {
  const { variants } = chosenVariants(tiny);
  const splits = tiny.splits(0);
  const options = { budget: BUDGET, seeds: [4, 5], puzzles: 100, data: undefined };
  const plan = planAblation({ preset: tiny, base, splits }, variants, options);
  const sweep = parseSweep(plan.fields, "file");
  return { variants, plan, costed: costSearch(sweep, { preset: usual, splits, where: "file" }) };
};

let kept: ReturnType<typeof makeOnce> | undefined;
const made = (): ReturnType<typeof makeOnce> => (kept ??= makeOnce());

const line = (option: number, seed: number, exact: number | null): TrialLine => ({
  ...{ option, seed, rung: 0, fields: {}, step: 9, tflop: 1, seconds: 1, count: exact === null ? 0 : 100 },
  ...{ exact: exact ?? 0, exactAccuracy: null, exactInterval: null, cellAccuracy: 0.5, loss: 1 },
  ...{ meanSteps: 1, divergedAt: exact === null ? 7 : null, adapter: "a", version: "v" },
});

describe("hrm ablate", () => {
  it("reads budgets with their unit, and refuses others", () => {
    for (const [text, flops] of [
      ["10TFLOP", 1e13],
      ["1.5 gflop", 1.5e9],
      [".5PFLOP", 5e14],
    ] as const)
      assert.equal(parseBudget(text), flops);
    for (const text of ["10", "0TFLOP", "-1TFLOP", "1e3TFLOP", "TFLOP", "1KFLOP", ""])
      assert.throws(() => parseBudget(text), ArgumentError, "--budget: got");
  });

  it("leaves out variants that are the same as others, and refuses names that are none", () => {
    const { variants, left } = chosenVariants(findPreset("maze7")!);
    assert.deepEqual(
      variants.map(({ name }) => name),
      variantNames(tiny.model).filter((name) => name !== "last-cycle"),
    );
    assert.deepEqual(left, ["last-cycle is the same as hrm"]);
    assert.throws(() => chosenVariants(tiny, "hrm,l-olny"), ArgumentError, "Did you mean l-only?");
    assert.throws(() => chosenVariants(tiny, "hrm"), ArgumentError, "at least two");
    assert.throws(() => chosenVariants(findPreset("maze7-trm")!), ArgumentError, "expected arch hrm");
  });

  it("trains every variant for as many operations, to within half a step, as the search counts them", () => {
    const { variants, plan, costed } = made();
    assert.isAtLeast(variants.length, 9);
    for (const [i, { flops, steps }] of costed.options.entries()) {
      assert.deepEqual([flops, steps], [plan.costs[i]!.flops, [plan.costs[i]!.steps]]);
      assert.isAtMost(Math.abs(flops * steps[0]! - BUDGET), flops / 2);
      assert.equal(costed.options[i]!.preset.train.total_steps, steps[0]);
      assert.equal(costed.options[i]!.preset.model.hidden_size, 8);
    }
    const splits = tiny.splits(0);
    const little = { budget: 1e6, seeds: [0], puzzles: undefined, data: undefined };
    assert.throws(
      () => planAblation({ preset: usual, base: {}, splits }, variants, little),
      ArgumentError,
      "--budget: got 1 MFLOP; expected at least",
    );
  });

  it("tells mean, spread, interval and the difference paired by seed", () => {
    const { variants, costed } = made();
    const plan = { ...costed, sweep: { ...costed.sweep, seeds: [1, 2, 3] } };
    const lines = [line(0, 1, 50), line(0, 2, 60), line(0, 3, 70)];
    lines.push(line(1, 1, 40), line(1, 2, 52), line(1, 3, null), line(2, 1, 30));
    const [hrm, second, third, fourth] = ablationRows(plan, variants, lines);
    // The quantile 4.302653 of Student's t with two degrees of freedom is that of printed tables.
    const half = (4.302653 * 0.1) / Math.sqrt(3);
    assert.closeTo(hrm!.exact!.mean, 0.6, 1e-12);
    assert.closeTo(hrm!.exact!.deviation!, 0.1, 1e-12);
    assert.closeTo(hrm!.exact!.interval!.low, 0.6 - half, 1e-6);
    assert.isNull(hrm!.difference);
    assert.equal(second!.diverged, 1);
    assert.closeTo(second!.difference!.mean, -0.09, 1e-12);
    // 12.706205 is that of one degree of freedom.
    const ofTwo = (12.706205 * Math.hypot(0.01, 0.01)) / Math.sqrt(2);
    assert.closeTo(second!.difference!.interval!.high, -0.09 + ofTwo, 1e-6);
    assert.isNull(third!.exact!.deviation);
    assert.isAbove(third!.exact!.interval!.low, 0.2);
    assert.isNull(fourth!.exact);
    const rows = [hrm!, second!, third!, fourth!];
    const table = ablationTable(rows, [1, 2, 3]);
    assert.match(table, /^hrm .*60\.0 \[35\.2, 84\.8\] +10\.0 .* - +50\.0 +60\.0 +70\.0$/m);
    assert.match(table, /^l-only .*-9\.0 \[-21\.7, 3\.7\] +40\.0 +52\.0 +diverged$/m);
    const markdown = ablationMarkdown(rows, { seeds: [1, 2, 3], title: "T", notes: ["n"] });
    assert.include(markdown, "# T\n\n| variant |");
    assert.equal(markdown.split("\n").filter((text) => text.startsWith("|")).length, 6);
  });

  it("stopped by Ctrl-C shows what is known, and goes on to the end @slow", async function () {
    this.timeout(600_000);
    const folder = await mkdtemp(join(tmpdir(), "hrm-ablate-"));
    try {
      const fields = ["--hidden_size", "8", "--num_heads", "2", "--batch", "4", "--H_cycles", "1"];
      const plan = ["ablate", "--preset", "sudoku4", "--variants", "hrm,transformer-size", ...fields];
      const first = start(folder, ...plan, "--budget", "10MFLOP", "--seeds", "1", "--puzzles", "16");
      await first.said(/^trial .*hrm, seed 0/m);
      assert.isTrue(first.child.kill("SIGINT"));
      const stopped = await first.done;
      assert.equal(stopped.code, 130, stopped.stderr);
      assert.match(stopped.stdout, /^transformer-size .* - /m);
      assert.include(stopped.stderr, "ablate --resume runs/ablation-sudoku4");
      const resume = ["ablate", "--resume", "runs/ablation-sudoku4", "--json"];
      const resumed = await run(folder, ...resume);
      assert.equal(resumed.code, 0, resumed.stderr);
      const report = json(resumed) as { variants: { name: string; exact: { mean: number } }[] };
      assert.deepEqual(
        report.variants.map(({ name, exact }) => [name, typeof exact.mean]),
        [
          ["hrm", "number"],
          ["transformer-size", "number"],
        ],
      );
      const at = (file: string): Promise<string> =>
        readFile(join(folder, "runs/ablation-sudoku4", file), "utf8");
      assert.equal((await at("search.jsonl")).trimEnd().split("\n").length, 2);
      assert.match(await at("ablation.md"), /^\| transformer-size \| \d+ \|/m);
      assert.deepEqual(JSON.parse(await at("table.json")), report);
      const wrong = await run(folder, ...resume, "--seeds", "4");
      assert.equal(wrong.code, 2);
      assert.include(wrong.stderr, "--seeds: got 4 with --resume");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
