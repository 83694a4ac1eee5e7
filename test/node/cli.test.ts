import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { decodeCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { findPreset } from "../../hrm/training/presets.js";
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
  ...["exactAfterSegment", "earlyHalting", "byDifficulty", "adapter"],
];

const PUZZLE = "1..4.....2.3....";

describe("the command line", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-cli-"));
    const files: Record<string, string> = {
      "tiny.json": JSON.stringify(TINY),
      "array.json": "[1]",
      "torn.json": '{\n  "hidden_size": 64,\n  "L_cycles": }\n',
      "unknown.json": '{"hiden_size": 64}',
      "type.json": '{"hidden_size": "64"}',
      "fixed.json": '{"seq_len": 20}',
      "empty.json": "",
      "one.csv": "1..4..1221....2.,1234341221434321\n",
      "bad.csv": `source,question,answer,rating\nx,${PUZZLE},12,0\n`,
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    await mkdir(join(folder, "nothing"));
    await mkdir(join(folder, "moved"));
    const { model, train } = findPreset("sudoku4")!;
    const moved = {
      ...{ preset: "sudoku4", seed: 0, adapter: "a", stopAt: 1, evalEvery: 1, evalLimit: 1, patience: null },
      ...{ keep: 3, data: "gone.csv", test: null, model, train },
    };
    await writeFile(join(folder, "moved/config.json"), JSON.stringify(moved));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  describe("names what is wrong and what was expected, exit code 2", () => {
    const table: readonly (readonly [args: string, ...said: string[]])[] = [
      ["", "Usage: hrm <command>"],
      [
        "trian",
        'got the command "trian"',
        "train, search, runs, ablate, report, eval, solve, submit, verify, info",
        "Did you mean train?",
      ],
      ["--json", 'got the command "--json"'],
      ["toString", 'got the command "toString"'],
      ["train --stepz 3", 'unknown option "--stepz"', "did you mean --steps?"],
      ["train --steps 0", '--steps: got "0"', "an integer of at least 1"],
      ["train --steps 2.5", '--steps: got "2.5"', "an integer"],
      ["train --steps", "--steps: got no value"],
      ["train --stop-at 1.01", '--stop-at: got "1.01"', "a number from 0 to 1"],
      ["train --stop-at NaN", '--stop-at: got "NaN"'],
      ["train --stop-after 0", '--stop-after: got "0"'],
      ["train --patience 0", '--patience: got "0"'],
      ["train --micro-batch 3", "config.micro_batch: got 3"],
      ["train --micro-batch 4 --memory-budget 1", "--memory-budget: got 1 with --micro-batch 4"],
      ["plan --limits some", '--limits: got "some"', "default, none"],
      ["train --seed -1", '--seed: got "-1"', "from 0 to 4294967295"],
      ["train --batch 0", '--batch: got "0"'],
      ["train --lr 0", "--lr: got 0", "a number above 0"],
      ["train --lr fast", '--lr: got "fast"', "a number"],
      ["train --eval-every 0", '--eval-every: got "0"'],
      ["train --json=yes", '--json: got "yes"', "no value"],
      ["train --preset sudoku5", '--preset: got "sudoku5"', "sudoku4", "Did you mean sudoku4?"],
      ["train more", 'the extra argument "more"'],
      ["train --hidden_size 30", "num_heads: got 4", "a divisor of hidden_size (30)"],
      ["train --H_cycles 0", "--H_cycles: got 0", "a positive integer"],
      ["train --pos_encodings sine", '--pos_encodings: got "sine"', "rope, learned"],
      ["train --hidden_size 36 --num_heads 4 --pos_encodings rope", "num_heads", "even head size"],
      [
        "train --pos_encodings rope2d_boxes",
        "num_heads",
        "a head size of at least 12 for rope2d_boxes, not 8",
      ],
      ["train --grid_rows 4", 'unknown option "--grid_rows"'],
      ["train --bp_steps 7", "--bp_steps: got 7", "at most 6"],
      ["train --halt_exploration_prob 2", "--halt_exploration_prob: got 2", "from 0 to 1"],
      ["train --config none.json", "--config none.json", "no such file", "a JSON object"],
      ["train --config nothing", "--config nothing", "it is a folder"],
      ["train --config torn.json", "--config torn.json", "line 3 is not JSON"],
      ["train --config empty.json", "--config empty.json", "is empty"],
      ["train --config array.json", "--config array.json", "holds an array"],
      ["train --config unknown.json", "--config unknown.json", '"hiden_size"', 'did you mean "hidden_size"'],
      ["train --config type.json", "--config type.json: hidden_size", 'got "64"', "a positive integer"],
      ["train --config fixed.json", "--config fixed.json: seq_len", "got 20", "expected 16"],
      ["train --init none", '--init "none": cannot be read', "no such file"],
      ["train --init-weights raw", "--init-weights: got raw without --init"],
      ["train --data none.csv", '--data: cannot read "none.csv"'],
      ["train --data bad.csv", "--data: ", "bad.csv, line 2"],
      ["train --data nothing", "--data: ", "dataset.json"],
      ["train --preset maze-30x30-hard-1k", "--data: preset maze-30x30-hard-1k: has no puzzles of its own"],
      ["train --data one.csv --out few", "--data: holdOut: got 1 puzzles", "Give more puzzles"],
      ["train --test bad.csv", "--test: ", "without --data"],
      ["train --resume nothing", '--resume "nothing"', "config.json"],
      ["train --resume moved", '--resume "moved": --data: cannot read "gone.csv"', "so resume it there"],
      ["train --resume tiny.json", '--resume "tiny.json": ', "expected the folder of a run, or a checkpoint"],
      ["train --resume nothing --steps 3", "--steps: got 3 with --resume"],
      ["train --autotune-seconds 3", "--autotune-seconds: got 3 without --autotune"],
      ["train --adapter nosuch", '--adapter: No adapter "nosuch"', "found 0: "],
      ["train --out tiny.json", '--out: cannot make a folder in "tiny.json"'],
      ["eval", "--checkpoint: got nothing"],
      ["eval --checkpoint none", '--checkpoint "none"', "no such file"],
      ["eval --checkpoint torn.json", '--checkpoint "torn.json"', "safetensors"],
      ["eval --checkpoint tiny.json --weights best", '--weights: got "best"', "ema, raw"],
      ["eval --checkpoint tiny.json --segments 0", '--segments: got "0"'],
      ["solve --checkpoint none 1", '--checkpoint "none"'],
      ["export", "got no <run>", "folder of a run"],
      ["export --official x nothing", '<run> "nothing"', "config.json"],
      ["import", "--official: got nothing"],
      ["import --official nothing --out x.safetensors", '--official "nothing": it holds no step_N'],
      ["report nothing", '<run> "nothing"', "config.json"],
      ["runs none", '[folder]: cannot read "none"', "no such file or folder"],
      ["verify none", 'got "none"', "golden fixtures"],
      ["verify --adapter 99 nothing", '--adapter: No adapter "99"'],
      ["info --all", 'unknown option "--all"'],
    ];
    for (const [args, ...said] of table) {
      it(`hrm ${args}`, async () => {
        const { code, stdout, stderr } = await run(folder, ...args.split(" ").filter(Boolean));
        for (const part of said) assert.include(stderr, part);
        assert.equal(code, 2, stderr);
        assert.equal(stdout, "");
        assert.notInclude(stderr, "    at ", "a stack trace");
      });
    }
  });

  it("prints help for every command, on stdout", async () => {
    for (const command of ["train", "eval", "solve", "verify", "info", "plan"]) {
      const { code, stdout, stderr } = await run(folder, command, "--help");
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`^Usage: hrm ${command} `));
      assert.equal(stderr, "");
    }
    const { code, stdout } = await run(folder, "--help");
    assert.equal(code, 0);
    assert.include(stdout, "verify");
  });

  it("plans memory without a device, and says what does not fit", async () => {
    const args = ["plan", "--preset", "sudoku4", "--batch", "4", "--json"];
    const planned = await run(folder, ...args);
    assert.equal(planned.code, 0, planned.stderr);
    assert.include(planned.stderr, "The largest micro-batch that fits is 4.");
    json(planned);
    const none = await run(folder, ...args, "--memory-budget", "1e-6");
    assert.equal(none.code, 1, none.stderr);
    const longer = await run(folder, ...args, "--bp_steps", "6");
    assert.match(longer.stderr, /the last 6 updates \(bp_steps\): [\d.]+ [MG]B of it/);
    const { longerGradientBytes, rows } = json(longer) as {
      longerGradientBytes: number;
      rows: { programs: number }[];
    };
    const { rows: official } = json(planned) as { rows: { programs: number }[] };
    assert.isAbove(longerGradientBytes, 0);
    assert.equal(longerGradientBytes, rows[0]!.programs - official[0]!.programs);
  });

  it("plans less memory in mixed precision, and refuses an adapter without it", async () => {
    const args = ["plan", "--preset", "sudoku4", "--batch", "16", "--json", "--precision"];
    const [mixed, f32, refused] = await Promise.all([
      run(folder, ...args, "mixed"),
      run(folder, ...args, "f32"),
      run(folder, ...args, "mixed", "--adapter", "software"),
    ]);
    const rows = [mixed, f32].map(
      (planned) => (json(planned) as { rows: { programs: number; variables: number }[] }).rows[0]!,
    );
    assert.isBelow(rows[0]!.programs, 0.8 * rows[1]!.programs);
    assert.equal(rows[0]!.variables, rows[1]!.variables);
    assert.equal(refused.code, 1, refused.stderr);
    assert.match(refused.stderr, /Mixed precision: .* lacks chromium-experimental-subgroup-matrix/);
  });

  it("leaves no run folder behind where no micro-batch fits the memory", async () => {
    const { code, stderr } = await run(folder, "train", "--memory-budget", "1e-6", "--out", "refused");
    assert.notEqual(code, 0, stderr);
    assert.include(stderr, "more than the budget of 1000");
    assert.deepEqual(await readdir(join(folder, "refused")), []);
  });

  it("refuses mixed precision where the adapter has no subgroup matrices, and leaves no run folder behind", async () => {
    const args = ["train", "--precision", "mixed", "--adapter", "software", "--out", "mixed"];
    const { code, stderr } = await run(folder, ...args);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /Mixed precision: .* lacks chromium-experimental-subgroup-matrix/);
    assert.notInclude(await readdir(folder), "mixed");
  });

  it("fails verify where there is nothing to replay, and where a fixture is torn", async () => {
    const nothing = await run(folder, "verify", "nothing", "--json");
    assert.equal(nothing.code, 1);
    assert.include(nothing.stderr, "Nothing to replay below nothing");
    assert.deepInclude(json(nothing), { passed: 0, failed: 0 });
    await mkdir(join(folder, "torn/fixture"), { recursive: true });
    await writeFile(join(folder, "torn/fixture/segment.safetensors"), "not a tensor file");
    const torn = await run(folder, "verify", "torn");
    assert.equal(torn.code, 1);
    assert.match(torn.stdout, /^fixture .*FAIL {2}cannot be replayed: /m);
    assert.match(torn.stdout, /\n0 passed, 1 failed\n$/);
  });

  it("lists adapters with features and limits, the one that would be used, and why", async () => {
    const finished = await run(folder, "info", "--json");
    const { adapters } = json(finished) as { adapters: Record<string, unknown>[] };
    assert.equal(finished.code, adapters.length > 0 ? 0 : 1);
    assert.isNotEmpty(adapters);
    assert.equal(adapters.filter((a) => a["chosen"]).length, 1);
    for (const a of adapters) {
      assert.isString(a["why"]);
      assert.isArray(a["features"]);
      assert.isObject(a["limits"]);
    }
  });

  it("keeps working when nobody reads its output", async () => {
    const { child, done } = start(folder, "info");
    child.stdout!.destroy();
    const { code, stderr } = await done;
    assert.equal(code, 0, stderr);
  });

  describe("trains, evaluates and solves @slow", () => {
    const tiny = ["train", "--config", "tiny.json", "--eval-every", "4", "--eval-limit", "16"];
    /** Of puzzles in files, where there are few to look at: these runs are about what becomes of them, not of puzzles. */
    const train = [...tiny, "--data", "few.csv", "--test", "fewer.csv"];
    let whole: Finished;
    let report: Record<string, unknown>;
    const file = (...path: string[]): Promise<Buffer> => readFile(join(folder, ...path));

    before(async () => {
      const csv = writePuzzleCsv(generateSudoku({ size: 4, count: 264, seed: 8 }), sudokuTask(4)).trimEnd();
      const [header, ...rows] = csv.split("\n");
      await writeFile(join(folder, "few.csv"), [header, ...rows.slice(0, 240)].join("\n"));
      await writeFile(join(folder, "fewer.csv"), [header, ...rows.slice(240)].join("\n"));
      whole = await run(folder, ...train, "--steps", "10", "--out", "whole", "--json");
      report = json(whole);
    });

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
      const begun = await run(
        folder,
        ...args,
        "--data",
        "fewer.csv",
        "--validation",
        "none",
        "--out",
        "later",
      );
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
      assert.match(
        refused.stderr,
        /ema_decay: the run has 0\.9, the official code 0[^]*--leave-out ema_decay/,
      );
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
      const imported = await run(
        folder,
        "import",
        "--official",
        "mine",
        "--out",
        "back.safetensors",
        "--json",
      );
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
      const both = await Promise.all(
        [5, 7].map((k) => run(folder, ...train, ...out, "--stop-after", `${k}`)),
      );
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
      assert.match(
        stderr,
        /DivergenceError: Training left the finite numbers at step \d+, first in [\w.]+\./,
      );
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

  it("says that a folder cannot be written", async function () {
    // Root may write anywhere.
    const closed = join(folder, "closed");
    await mkdir(closed);
    await chmod(closed, 0o555);
    const root = process.getuid?.() === 0;
    const { code, stderr } = await run(folder, "train", "--out", root ? "/proc/none" : "closed/runs");
    assert.equal(code, 2, stderr);
    assert.match(stderr, /--out: cannot make a folder in/);
    await chmod(closed, 0o755);
  });
});
