/** What the command line says: usage, mistakes, help, plans and adapters. Whole runs are in cli_runs.test.ts. */
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { findPreset } from "../../hrm/training/presets.js";
import { json, run, start } from "../support/command_line.js";

const PUZZLE = "1..4.....2.3....";

describe("the command line", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-cli-"));
    const files: Record<string, string> = {
      "tiny.json": '{"hidden_size": 8}',
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
      ["eval --checkpoint tiny.json --images 0", '--images: got "0"', "from 1 to 1000"],
      ["eval --checkpoint tiny.json --halt-above high", '--halt-above: got "high"', "a number"],
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

  it("leaves no run folder behind if no micro-batch fits the memory", async () => {
    const { code, stderr } = await run(folder, "train", "--memory-budget", "1e-6", "--out", "refused");
    assert.notEqual(code, 0, stderr);
    assert.include(stderr, "more than the budget of 1000");
    assert.deepEqual(await readdir(join(folder, "refused")), []);
  });

  it("refuses mixed precision if the adapter has no subgroup matrices, and leaves no run folder behind", async () => {
    const args = ["train", "--precision", "mixed", "--adapter", "software", "--out", "mixed"];
    const { code, stderr } = await run(folder, ...args);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /Mixed precision: .* lacks chromium-experimental-subgroup-matrix/);
    assert.notInclude(await readdir(folder), "mixed");
  });

  it("fails verify if there is nothing to replay, and if a fixture is torn", async () => {
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
