/**
 * Whole runs on the command line: training, what a run leaves on disk, evaluating, solving, stopping and resuming. The file is
 * longer than 400 lines because its tests look at one trained run.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { decodeCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { writePuzzleCsv } from "../../hrm/files/puzzles/index.js";
import { generateSudoku, sudokuTask } from "../../hrm/puzzles/index.js";
import { json, run, start, type Finished } from "../support/command_line.js";
import { uniform } from "../support/random.js";

/** A model that compiles and runs fast; it learns nothing in so few steps. */
const TINY = {
  ...{ hidden_size: 8, num_heads: 2, swiglu_multiple: 8, L_cycles: 1 },
  ...{ batch_size: 4, halt_max_steps: 2 },
};

const TRAIN_FIELDS = [
  ...["steps", "seconds", "exactAccuracy", "exactInterval", "cellAccuracy", "blankAccuracy"],
  ...["majorityBlankAccuracy", "meanSteps", "paramCount", "adapter", "checkpoint"],
];
const EVAL_FIELDS = [
  ...["count", "exactAccuracy", "cellAccuracy", "blankAccuracy", "majorityBlankAccuracy"],
  ...["qHaltAccuracy", "meanSteps", "nonFinite"],
  ...["rulesObeyed", "rulesObeyedUnlikeLabel", "severalAnswers", "severalAnswersCountedOf"],
  ...[
    "exactAfterSegment",
    "earlyHalting",
    "limits",
    "byDifficulty",
    "partial",
    "asked",
    "computed",
    "adapter",
  ],
];

const PUZZLE = "1..4.....2.3....";

describe("a run on the command line @slow", () => {
  let folder: string;
  const tiny = ["train", "--config", "tiny.json", "--eval-every", "4", "--eval-limit", "16"];
  /** Of puzzles in files, where there are few to look at: these runs are about what becomes of them, not of puzzles. */
  const train = [...tiny, "--data", "few.csv", "--test", "fewer.csv"];
  let whole: Finished;
  let report: Record<string, unknown>;
  const file = (...path: string[]): Promise<Buffer> => readFile(join(folder, ...path));

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-cli-runs-"));
    await writeFile(join(folder, "tiny.json"), JSON.stringify(TINY));
    const csv = writePuzzleCsv(generateSudoku({ size: 4, count: 264, seed: 8 }), sudokuTask(4)).trimEnd();
    const [header, ...rows] = csv.split("\n");
    await writeFile(join(folder, "few.csv"), [header, ...rows.slice(0, 240)].join("\n"));
    await writeFile(join(folder, "fewer.csv"), [header, ...rows.slice(240)].join("\n"));
    whole = await run(folder, ...train, "--steps", "10", "--out", "whole", "--json");
    report = json(whole);
  });

  after(() => rm(folder, { recursive: true, force: true }));

  it("reports a missed target with exit code 1 and exactly the promised fields", () => {
    assert.equal(whole.code, 1, whole.stderr);
    assert.match(whole.stderr, /^missed .* target of 97.0%/m);
    assert.deepEqual(Object.keys(report), TRAIN_FIELDS);
    assert.equal(report["steps"], 10);
    assert.isAbove(report["seconds"] as number, 0);
    const [low, high] = report["exactInterval"] as [number, number];
    assert.isAtMost(low, report["exactAccuracy"] as number);
    assert.isAtLeast(high, report["exactAccuracy"] as number);
    assert.match(whole.stderr, /test puzzles \(95% interval\)/);
  });

  it("writes configuration, metrics, TensorBoard events, the newest checkpoints and the best", async () => {
    const run = join("whole", "sudoku4-seed0");
    const names = await readdir(join(folder, run));
    assert.includeMembers(names, ["config.json", "metrics.jsonl", "checkpoints", "best.safetensors"]);
    assert.equal(names.filter((name) => name.startsWith("events.out.tfevents.")).length, 1);
    const { task, vocabulary } = decodeCheckpoint(await file(run, "best.safetensors"));
    assert.deepEqual([task, vocabulary?.join("")], ["sudoku4", "PAD.1234"]);
    const steps = (await readdir(join(folder, run, "checkpoints"))).sort();
    assert.deepEqual(
      steps,
      [4, 8, 10].map((step) => `step-0000000${step}.safetensors`.replace("000000010", "00000010")),
    );
    const lines = String(await file(run, "metrics.jsonl"))
      .trimEnd()
      .split("\n")
      .map(
        (line) =>
          JSON.parse(line) as { kind: string; step: number; gradientNorm: number; gradientNormMax: number },
      );
    assert.deepEqual(
      lines.map(({ kind, step }) => `${kind} ${step}`).slice(0, -1),
      [4, 8, 10].flatMap((step) => [`train ${step}`, `validation ${step}`]),
    );
    assert.equal(lines.at(-1)!.kind, "test");
    for (const { kind, gradientNorm, gradientNormMax } of lines)
      if (kind === "train") {
        assert.isAbove(gradientNorm, 0);
        assert.isAbove(gradientNormMax, gradientNorm);
      }
  });

  it("lists the run as finished, with the looks that it reported", async () => {
    const listed = json(await run(folder, "runs", "whole", "--json")) as {
      runs: { state: string; step: number; ended: string; test: Record<string, number>; next: string[] }[];
    };
    const [one] = listed.runs;
    assert.deepInclude(one, { state: "finished", step: 10, ended: "last_step" });
    assert.equal(one!.test["exactAccuracy"], report["exactAccuracy"]);
    assert.deepEqual(one!.next.slice(0, 3), ["eval", "--checkpoint", report["checkpoint"] as string]);
  });

  it("starts from a checkpoint's weights, records it, and goes on after a stop", async () => {
    const best = report["checkpoint"] as string;
    const args = [
      ...["train", "--init", best, "--steps", "3", "--stop-after", "1"],
      ...["--eval-limit", "4"],
    ];
    const begun = await run(folder, ...args, "--data", "fewer.csv", "--validation", "none", "--out", "later");
    assert.equal(begun.code, 0, begun.stderr);
    assert.match(begun.stderr, /^init +(\d+) of \1 tensors are taken from /m);
    const later = join("later", "sudoku4-seed0");
    const { init, model } = JSON.parse(String(await file(later, "config.json"))) as {
      init: { checkpoint: string; weights: string; notes: string[] };
      model: { hidden_size: number };
    };
    assert.deepInclude(init, { checkpoint: best, weights: "ema", notes: [] });
    assert.equal(model.hidden_size, TINY.hidden_size);
    const first = decodeCheckpoint(await file(later, "checkpoints", "step-00000000.safetensors"));
    const source = decodeCheckpoint(await file(best)).ema!;
    for (const [name, { data }] of source) assert.deepEqual(first.raw.get(name)!.data, data, name);
    const resumed = await run(folder, "train", "--resume", later, "--json");
    assert.equal(json(resumed)["steps"], 3, resumed.stderr);
    // A run that was killed before its first save reads the file again, which must be the same.
    await rm(join(folder, later, "checkpoints"), { recursive: true });
    await rm(join(folder, later, "metrics.jsonl"));
    const config = String(await file(later, "config.json"));
    await writeFile(
      join(folder, later, "config.json"),
      config.replace(/"crc32": "\w+"/, '"crc32": "00000000"'),
    );
    const changed = await run(folder, "train", "--resume", later);
    assert.equal(changed.code, 2, changed.stderr);
    assert.match(changed.stderr, /was changed since the run began/);
    const unfit = await run(folder, "train", "--init", best, "--hidden_size", "16", "--out", "unfit");
    assert.equal(unfit.code, 2, unfit.stderr);
    assert.match(
      unfit.stderr,
      /--init ".*": State dict: inner\.embed_tokens.* shape \[6, 8\]; expected shape \[6, 16\]/,
    );
    assert.notInclude(await readdir(folder), "unfit");
  });

  it("exports a run for the official code, and reads back the same model", async () => {
    const official = {
      ...{ ...TINY, swiglu_multiple: 256, puzzle_emb_ndim: 8, halt_only: false, pos_encodings: "rope" },
      ...{ lr_schedule: "cosine", ema_decay: 0.9 },
    };
    await writeFile(join(folder, "official.json"), JSON.stringify(official));
    const args = [
      "--config",
      "official.json",
      "--data",
      "few.csv",
      "--test",
      "fewer.csv",
      "--eval-limit",
      "8",
    ];
    const trained = await run(
      folder,
      "train",
      ...args,
      "--steps",
      "2",
      "--eval-every",
      "2",
      "--out",
      "o",
      "--json",
    );
    const refused = await run(folder, "export", "--official", "mine", "o/sudoku4-seed0");
    assert.equal(refused.code, 2, trained.stderr + refused.stderr);
    assert.match(refused.stderr, /ema_decay: the run has 0\.9, the official code 0[^]*--leave-out ema_decay/);
    const ours = await run(folder, "export", "--official", "ours", "whole/sudoku4-seed0");
    assert.match(ours.stderr, /puzzle_emb_ndim: the run has 0[^]*halt_only: the run has true/);
    assert.notInclude(await readdir(folder), "ours");
    const options = ["--leave-out", "ema_decay", "--forward-dtype", "float32", "--json"];
    const exported = await run(folder, "export", "--official", "mine", ...options, "o/sudoku4-seed0");
    assert.equal(exported.code, 0, exported.stderr);
    assert.match(exported.stderr, /torchrun --nproc-per-node 8 evaluate\.py checkpoint=.*mine\/step_2/);
    assert.sameMembers(await readdir(join(folder, "mine")), ["all_config.yaml", "data", "step_2"]);
    const twice = await run(folder, "export", "--official", "mine", ...options, "o/sudoku4-seed0");
    assert.match(twice.stderr, /mine is not empty/);
    const imported = await run(folder, "import", "--official", "mine", "--out", "back.safetensors", "--json");
    assert.equal(imported.code, 0, imported.stderr);
    assert.notInclude(imported.stderr, "assumed");
    const best = decodeCheckpoint(await file("o/sudoku4-seed0", "best.safetensors"));
    const back = decodeCheckpoint(await file("back.safetensors"));
    assert.equal(back.step, 2);
    for (const [name, { data }] of best.ema!) assert.deepEqual(back.raw.get(name)!.data, data, name);
    for (const field of [
      "num_heads",
      "H_cycles",
      "L_cycles",
      "halt_max_steps",
      "seq_len",
      "pos_encodings",
    ] as const)
      assert.equal(back.config[field], best.config[field], field);
  });

  it("reports the run as one file, with the curves and scores of its history", async () => {
    const args = ["report", "whole/sudoku4-seed0", "--out", "r.html", "--json", "--limit", "8"];
    const done = await run(folder, ...args, "--examples", "1", "--followed", "4");
    assert.equal(done.code, 0, done.stderr);
    assert.deepEqual(json(done), { report: "r.html", runs: ["sudoku4-seed0"] });
    const page = String(await file("r.html"));
    const data = JSON.parse(/id="data">(.*)<\/script>/.exec(page)![1]!) as {
      curves: { loss: { step: number[] }; exact: { step: number[] } };
      test: { exactAccuracy: number };
    }[];
    assert.deepEqual(data[0]!.curves.loss.step, [4, 8, 10]);
    assert.deepEqual(data[0]!.curves.exact.step, [4, 8, 10]);
    assert.equal(data[0]!.test.exactAccuracy, report["exactAccuracy"]);
    const again = await run(folder, ...args);
    assert.equal(again.code, 2);
    assert.match(again.stderr, /--out: r\.html exists/);
  });

  it("evaluates the checkpoint on a file to the very accuracies that training reported, and asks for the file", async () => {
    const args = ["eval", "--checkpoint", report["checkpoint"] as string];
    const missing = await run(folder, ...args);
    assert.equal(missing.code, 2);
    assert.include(missing.stderr, "trained on few.csv");
    const finished = await run(folder, ...args, "--data", "fewer.csv", "--json");
    assert.equal(finished.code, 0, finished.stderr);
    const scores = json(finished);
    assert.deepEqual(Object.keys(scores), EVAL_FIELDS);
    assert.equal(scores["count"], 24);
    for (const field of ["exactAccuracy", "cellAccuracy", "meanSteps", "adapter"])
      assert.equal(scores[field], report[field], field);
  });

  it("trains several seeds, gives mean and spread, and trains no finished seed again", async () => {
    const seeds = ["--steps", "4", "--seeds", "2", "--seed", "3", "--out", "seeds", "--json"];
    const trained = await run(folder, ...train, ...seeds);
    assert.equal(trained.code, 1, trained.stderr);
    const report = json(trained);
    assert.hasAllKeys(report, ["seeds", "exact", "cells"]);
    const each = report["seeds"] as { seed: number; folder: string; cellAccuracy: number }[];
    assert.deepEqual(
      each.map(({ seed, folder }) => [seed, folder]),
      [3, 4].map((seed) => [seed, join("seeds", `sudoku4-seed${seed}`)]),
    );
    const [a, b] = each.map(({ cellAccuracy }) => cellAccuracy) as [number, number];
    const { mean, deviation } = report["cells"] as { mean: number; deviation: number };
    assert.closeTo(mean, (a + b) / 2, 1e-12);
    assert.closeTo(deviation, Math.abs(a - b) / Math.SQRT2, 1e-12);
    assert.match(trained.stderr, /^cells over 2 seeds: .*standard deviation/m);
    const again = await run(folder, ...train, ...seeds);
    assert.equal(again.code, 0, again.stderr);
    assert.deepEqual(json(again), report);
    assert.equal(again.stderr.match(/is finished, and is not trained again/g)!.length, 2);
    const other = await run(folder, ...train, ...seeds, "--lr", "1e-3");
    assert.equal(other.code, 2);
    assert.match(
      other.stderr,
      /--seeds: .*sudoku4-seed3 was trained with lr 0.004, and this command says 0.001/,
    );
  });

  it("stops puzzles that the model believes, votes, and says what both cost", async () => {
    const args = ["eval", "--checkpoint", report["checkpoint"] as string, "--data", "fewer.csv"];
    const early = json(await run(folder, ...args, "--halt-above", "-100", "--segments", "4", "--json"));
    assert.equal(early["meanSteps"], 1);
    assert.deepEqual(early["computed"], { rowSegments: 24, ofRowSegments: 96 });
    const voted = await run(folder, ...args, "--images", "3", "--tries", "2");
    assert.match(
      voted.stdout,
      /^chosen among 3 images x 2 tries: 6 forward passes for each puzzle; one pass alone: exact/m,
    );
    assert.match(voted.stdout, /^at most +exact \[95%\] +exact, stopping/m);
    const noise = await run(folder, ...args, "--noise", "0.2");
    assert.equal(noise.code, 2);
    assert.include(noise.stderr, "--noise: got 0.2 without --tries");
  });

  it("prints the scores of the puzzles that were answered before Ctrl-C, and says that they are partial", async () => {
    const long = ["--images", "4", "--tries", "4", "--segments", "8", "--json"];
    const args = ["--checkpoint", report["checkpoint"] as string, "--data", "few.csv", ...long];
    const started = start(folder, "eval", ...args);
    await started.said(/^answered /m);
    started.child.kill("SIGINT");
    const finished = await started.done;
    assert.equal(finished.code, 130, finished.stderr);
    assert.match(finished.stderr, /^partial: \d+ of 240 puzzles were answered/m);
    const { partial, asked, count, computed } = json(finished);
    assert.deepEqual([partial, asked, computed], [true, 240, null]);
    assert.isAbove(count as number, 0);
    assert.isBelow(count as number, 240);
  });

  it("evaluates raw weights, fewer puzzles and more segments", async () => {
    const args = ["--weights", "raw", "--limit", "10", "--segments", "3", "--data", "fewer.csv", "--json"];
    const scores = json(await run(folder, "eval", "--checkpoint", report["checkpoint"] as string, ...args));
    assert.equal(scores["count"], 10);
    assert.equal(scores["meanSteps"], 3);
    assert.lengthOf(scores["exactAfterSegment"] as number[], 3);
    assert.equal((scores["exactAfterSegment"] as number[])[2], scores["exactAccuracy"]);
  });

  it("writes every answer to a file, and replaces a file only if asked to", async () => {
    const args = ["eval", "--checkpoint", report["checkpoint"] as string, "--data", "fewer.csv", "--json"];
    const file = join(folder, "answers.jsonl");
    const scores = json(await run(folder, ...args, "--predictions", "answers.jsonl"));
    const text = await readFile(file, "utf8");
    const lines = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { exact: boolean; obeys_rules: boolean; segments: number });
    assert.lengthOf(lines, 24);
    const exact = lines.filter((line) => line.exact).length;
    assert.equal(exact / 24, scores["exactAccuracy"]);
    assert.equal(lines.filter((line) => line.obeys_rules).length, scores["rulesObeyed"]);
    const bands = scores["byDifficulty"] as { measure: string; puzzles: number; exact: number }[];
    const givens = bands.filter(({ measure }) => measure === "givens");
    assert.equal(
      givens.reduce((sum, band) => sum + band.puzzles, 0),
      24,
    );
    assert.equal(
      givens.reduce((sum, band) => sum + band.exact, 0),
      exact,
    );
    const again = await run(folder, ...args, "--predictions", "answers.jsonl");
    assert.equal(again.code, 2);
    assert.include(again.stderr, "--predictions: answers.jsonl exists; give another name, or --overwrite.");
    const other = await run(folder, ...args, "--predictions", "answers.txt");
    assert.equal(other.code, 2);
    assert.include(other.stderr, "expected a name that ends in .csv or .jsonl");
    assert.equal(await readFile(file, "utf8"), text);
  });

  it("scores the first puzzles of a file as it would a file of these alone, their majority included", async () => {
    const csv = writePuzzleCsv(generateSudoku({ size: 4, count: 12, seed: 9 }), sudokuTask(4));
    await writeFile(join(folder, "twelve.csv"), csv);
    await writeFile(join(folder, "three.csv"), csv.split("\n").slice(0, 4).join("\n"));
    const scoresOf = async (...args: string[]) =>
      json(await run(folder, "eval", "--checkpoint", report["checkpoint"] as string, "--json", ...args));
    const first = await scoresOf("--data", "twelve.csv", "--limit", "3");
    assert.deepEqual(first, await scoresOf("--data", "three.csv"));
    const all = await scoresOf("--data", "twelve.csv");
    assert.equal(all["count"], 12);
    assert.notEqual(all["majorityBlankAccuracy"], first["majorityBlankAccuracy"]);
  });

  it("solves a puzzle from the command line, and shows the grid after each segment", async () => {
    const args = ["solve", "--checkpoint", report["checkpoint"] as string, PUZZLE, "--segments", "3"];
    const answer = json(await run(folder, ...args, "--json"));
    assert.hasAllKeys(answer, ["solved", "differsFromLabel", "answer", "segments", "adapter"]);
    assert.lengthOf(answer["segments"] as unknown[], 3);
    const { stdout, code } = await run(folder, ...args);
    assert.match(stdout, /puzzle +1: q \S+ +2: q \S+ +3: q /);
    assert.equal(code, answer["solved"] ? 0 : 1);
    const bad = await run(folder, ...args.slice(0, 3), "12x");
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /<puzzle>: .*got/);
  });

  it("stops after a step, gives runs at once folders of their own, and resumes to the same bits", async () => {
    const out = ["--steps", "10", "--out", "parts", "--json"];
    const both = await Promise.all([5, 7].map((k) => run(folder, ...train, ...out, "--stop-after", `${k}`)));
    const reports = both.map(json);
    assert.deepEqual(
      both.map(({ code }) => code),
      [0, 0],
      both[0]!.stderr,
    );
    assert.deepEqual(
      reports.map((r) => r["steps"]),
      [5, 7],
    );
    assert.deepEqual(Object.keys(reports[0]!), TRAIN_FIELDS);
    assert.isNull(reports[0]!["exactAccuracy"]);
    const folders = (await readdir(join(folder, "parts"))).sort();
    assert.deepEqual(folders, ["sudoku4-seed0", "sudoku4-seed0-2"]);
    assert.match(both.map((b) => b.stderr).join(""), /exists and stays as it is/);
    assert.match(both[0]!.stderr, /Go on with: .* --resume /);

    const stopped = (reports[0]!["checkpoint"] as string).split("/checkpoints/")[0]!;
    const again = await run(folder, "train", "--resume", stopped, "--stop-after", "3");
    assert.equal(again.code, 2);
    assert.include(again.stderr, "the run is at step 5 already");
    const resumed = await run(folder, "train", "--resume", stopped, "--json");
    assert.equal(resumed.code, 1, resumed.stderr);
    assert.notInclude(resumed.stderr, "not bit-identical");
    const end = json(resumed);
    for (const field of ["steps", "exactAccuracy", "cellAccuracy", "meanSteps", "paramCount"])
      assert.deepEqual(end[field], report[field], field);
    for (const name of ["best.safetensors", "checkpoints/step-00000010.safetensors"])
      assert.isTrue((await file("whole/sudoku4-seed0", name)).equals(await file(stopped, name)), name);
  });

  it("killed at random moments around its saves and resumed, ends at the same bits", async () => {
    const killed = "killed/sudoku4-seed0";
    for (let kill = 0; kill < 3; kill++) {
      const args =
        kill === 0 ? [...train, "--steps", "10", "--out", "killed"] : ["train", "--resume", killed];
      const started = start(folder, ...args);
      // A run killed after its last save has nothing left to validate.
      await started.said(/^(step \d+: validation|missed )/m);
      await new Promise((resolve) => setTimeout(resolve, 60 * uniform()));
      started.child.kill("SIGKILL");
      await started.done;
    }
    const end = json(await run(folder, "train", "--resume", killed, "--json"));
    assert.equal(end["cellAccuracy"], report["cellAccuracy"]);
    for (const name of ["best.safetensors", "checkpoints/step-00000010.safetensors"])
      assert.isTrue((await file("whole/sudoku4-seed0", name)).equals(await file(killed, name)), name);
    const steps = async (folder: string): Promise<string[]> =>
      String(await file(folder, "metrics.jsonl"))
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as { kind: string; step: number })
        .map(({ kind, step }) => `${kind} ${step}`);
    assert.deepEqual(await steps(killed), await steps("whole/sudoku4-seed0"));
  });

  it("goes on with the checkpoint before a torn one, and says so", async () => {
    const run10 = "whole/sudoku4-seed0/checkpoints/step-00000010.safetensors";
    const bytes = await file(run10);
    await writeFile(join(folder, run10), bytes.subarray(0, bytes.length / 2));
    const { stderr } = await run(folder, "train", "--resume", "whole/sudoku4-seed0", "--json");
    assert.match(stderr, /warning .*step-00000010.safetensors is not used: /);
    assert.match(stderr, /going on after step 8/);
    assert.isTrue((await file(run10)).equals(bytes));
  });

  it("keeps others out of its folder, stops cleanly on Ctrl-C, saves, and says how to go on", async () => {
    const started = start(folder, ...train, "--steps", "100000", "--out", "stopped", "--json");
    await started.said(/^step \d+: validation/m);
    const second = await run(folder, "train", "--resume", "stopped/sudoku4-seed0");
    assert.equal(second.code, 2, second.stderr);
    assert.include(second.stderr, `process ${started.child.pid} works in it since`);
    started.child.kill("SIGINT");
    const finished = await started.done;
    assert.equal(finished.code, 130, finished.stderr);
    assert.match(finished.stderr, /stopping /);
    assert.match(finished.stderr, /Go on with: .*train --resume stopped\/sudoku4-seed0/);
    const { steps, checkpoint, exactAccuracy } = json(finished);
    assert.isNull(exactAccuracy);
    assert.match(checkpoint as string, new RegExp(`step-0*${steps as number}.safetensors$`));
    assert.isAbove((await file(checkpoint as string)).length, 0);
  });

  it("says where training left the finite numbers, and keeps the last good checkpoint", async () => {
    const wild = ["--lr", "1e37", "--lr_warmup_steps", "0", "--steps", "8", "--out", "wild"];
    const { code, stderr } = await run(folder, ...train, ...wild);
    assert.equal(code, 1);
    assert.match(stderr, /DivergenceError: Training left the finite numbers at step \d+, first in [\w.]+\./);
    const kept = await readdir(join(folder, "wild/sudoku4-seed0/checkpoints"));
    assert.deepEqual(kept, ["step-00000000.safetensors"]);
  });

  it("trains on the preset's puzzles, and evaluates on its test set to the very accuracies", async () => {
    const trained = await run(folder, ...tiny, "--steps", "4", "--out", "preset", "--json");
    assert.equal(trained.code, 1, trained.stderr);
    assert.match(trained.stderr, /1024 test puzzles/);
    const { checkpoint, ...reported } = json(trained);
    const scores = json(await run(folder, "eval", "--checkpoint", checkpoint as string, "--json"));
    assert.equal(scores["count"], 1024);
    for (const field of ["exactAccuracy", "cellAccuracy", "meanSteps"])
      assert.equal(scores[field], reported[field], field);
  });
});
