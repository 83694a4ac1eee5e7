import { estimateText } from "../../hrm/cli/output/follow.js";
import { assert } from "chai";
import {
  ArgumentError,
  helpText,
  nearestName,
  parseArguments,
  type Command,
  type Option,
} from "../../hrm/terminal/arguments.js";
import { formatDuration } from "../../hrm/format_duration.js";
import { progressLine, wantsColor } from "../../hrm/cli/output/render.js";

const options = {
  steps: { type: "int", min: 1, default: 2500, help: "planned total of optimizer steps" },
  lr: { type: "float", min: 0, max: 1, help: "peak learning rate", defaultText: "the preset's" },
  out: { type: "string", short: "o", placeholder: "folder", help: "where the run goes" },
  weights: { type: "choice", choices: ["ema", "raw"], default: "ema", help: "which weights" },
  json: { type: "bool", default: false, help: "print JSON" },
  color: { type: "bool", help: "use colours" },
  H_cycles: { type: "int", min: 1, help: "cycles of the H module" },
} as const satisfies Record<string, Option>;

const command: Command<typeof options> = { name: "hrm train", summary: "Trains a model.", options };
const withPuzzle: Command = {
  ...command,
  positionals: [
    { name: "checkpoint", help: "the file to read", required: true },
    { name: "puzzle", help: "puzzles to solve", variadic: true },
  ],
};

function values(...argv: string[]): Record<string, unknown> {
  const parsed = parseArguments(command, argv);
  assert.equal(parsed.kind, "run");
  return parsed.kind === "run" ? parsed.values : {};
}

describe("command-line arguments", () => {
  const defaults = values();

  it("gives defaults, and undefined where there is none", () => {
    assert.deepEqual(defaults, {
      steps: 2500,
      lr: undefined,
      out: undefined,
      weights: "ema",
      json: false,
      color: undefined,
      H_cycles: undefined,
    });
  });

  const accepted: [argv: string[], expected: Record<string, unknown>][] = [
    [["--steps", "10"], { steps: 10 }],
    [["--steps=10", "--steps=20"], { steps: 20 }],
    [["--lr", "4e-3"], { lr: 0.004 }],
    [["--lr", ".5"], { lr: 0.5 }],
    [["--lr=1."], { lr: 1 }],
    [["-o", "runs/a"], { out: "runs/a" }],
    [["-oruns/a"], { out: "runs/a" }],
    [["--out="], { out: "" }],
    [["--out=--odd"], { out: "--odd" }],
    [["--weights", "raw"], { weights: "raw" }],
    [["--json", "--color"], { json: true, color: true }],
    [["--no-json", "--no-color"], { json: false, color: false }],
    [["--H_cycles", "2"], { H_cycles: 2 }],
  ];
  for (const [argv, expected] of accepted) {
    it(`reads ${argv.join(" ")}`, () => {
      assert.deepEqual(values(...argv), { ...defaults, ...expected });
    });
  }

  const refused: [argv: string[], message: RegExp][] = [
    [["--stesp", "10"], /^got the unknown option "--stesp"; did you mean --steps\?/],
    [["--h-cycles", "2"], /did you mean --H_cycles\?/],
    [["--weight=raw"], /did you mean --weights\?/],
    [["--quux"], /^got the unknown option "--quux"; all options: hrm train --help/],
    [["-x"], /unknown option "-x"/],
    [["--no-steps"], /unknown option "--no-steps"/],
    [["--constructor"], /unknown option "--constructor"/],
    [["--__proto__", "1"], /unknown option "--__proto__"/],
    [["--steps", "ten"], /^--steps: got "ten"; expected an integer of at least 1\.$/],
    [["--steps", "1.5"], /got "1.5"; expected an integer/],
    [["--steps", "0x10"], /got "0x10"/],
    [["--steps", "1e3"], /got "1e3"/],
    [["--steps="], /got ""; expected an integer/],
    [["--steps", "99999999999999999999"], /expected an integer/],
    [["--steps", "-1"], /^--steps: got "-1"; expected an integer of at least 1/],
    [["--steps"], /^--steps: got no value; expected an integer of at least 1/],
    [["--steps", "--json"], /^--steps: got no value; .* write --steps=--json/],
    [["--lr", "2"], /^--lr: got "2"; expected a number from 0 to 1/],
    [["--lr", "NaN"], /got "NaN"; expected a number/],
    [["--lr", "Infinity"], /got "Infinity"/],
    [["--lr", "1e999"], /got "1e999"/],
    [["--weights", "emma"], /got "emma"; expected one of ema, raw\. Did you mean "ema"\?/],
    [["--json=yes"], /^--json: got "yes"; expected no value/],
    [["-o"], /^-o: got no value; expected a value \(folder\)/],
    [["stray"], /extra argument "stray"; expected options only/],
  ];
  for (const [argv, message] of refused) {
    it(`refuses ${argv.join(" ")}`, () => {
      assert.throws(() => parseArguments(command, argv), ArgumentError, message);
    });
  }

  it("takes positionals: required, variadic, and after --", () => {
    const positionals = (...argv: string[]): readonly string[] => {
      const parsed = parseArguments(withPuzzle, argv);
      return parsed.kind === "run" ? parsed.positionals : [];
    };
    assert.deepEqual(positionals("a"), ["a"]);
    assert.deepEqual(positionals("a", "--json", "b", "c"), ["a", "b", "c"]);
    assert.deepEqual(positionals("a", "--", "--json", "-1"), ["a", "--json", "-1"]);
    assert.throws(() => positionals(), ArgumentError, /got no <checkpoint>; expected the file to read/);
  });

  it("help wins over everything else and names every option once", () => {
    for (const argv of [["--help"], ["-h"], ["--steps", "ten", "--help"], ["--quux", "-h"]]) {
      const parsed = parseArguments(withPuzzle, argv);
      assert.deepEqual(parsed, { kind: "help", text: helpText(withPuzzle) });
    }
    const text = helpText(withPuzzle);
    assert.match(text, /^Usage: hrm train \[options\] <checkpoint> \[puzzle \.\.\.\]\n\nTrains a model\.\n/);
    for (const name of Object.keys(options)) assert.lengthOf(text.match(new RegExp(`--${name}\\b`, "g"))!, 1);
    const unwrapped = text.replace(/\s+/g, " ");
    assert.include(unwrapped, "--steps <int> planned total of optimizer steps (at least 1; default: 2500)");
    assert.include(unwrapped, "--lr <float> peak learning rate (from 0 to 1; default: the preset's)");
    assert.include(unwrapped, "--weights <ema|raw> which weights (default: ema)");
    assert.isTrue(text.split("\n").every((line) => line.length <= 100));
  });

  it("options typed by hand are typed in the result", () => {
    const parsed = parseArguments(command, []);
    if (parsed.kind !== "run") return assert.fail();
    const steps: number = parsed.values.steps;
    const lr: number | undefined = parsed.values.lr;
    const weights: "ema" | "raw" = parsed.values.weights;
    assert.deepEqual([steps, lr, weights], [2500, undefined, "ema"]);
  });

  it("nearestName finds slips of the finger and prefixes, and nothing far away", () => {
    const names = ["train", "eval", "solve", "verify", "info"];
    const rows: [string, string | undefined][] = [
      ["trian", "train"],
      ["Train", "train"],
      ["evaluate", "eval"],
      ["verfy", "verify"],
      ["bench", undefined],
      ["", undefined],
    ];
    for (const [given, expected] of rows) assert.equal(nearestName(given, names), expected, given);
  });
});

describe("the estimate of a run's time", () => {
  it("follows from the steps that were timed, and says what it leaves out", () => {
    const text = estimateText({ steps: 2975, seconds: 8, timed: 20, adapter: "SwiftShader" });
    assert.match(
      text,
      /^estimate {2}about 19 min 50 s for 2,975 steps on SwiftShader, by the pace of 20 steps;/,
    );
    assert.match(text, /looks .* come on top, and training ends early if it reaches its target/);
  });
});

describe("progress and durations", () => {
  function recorder(isTTY: boolean, columns = 20) {
    let text = "";
    let time = 0;
    const stream = { write: (more: string) => void (text += more), isTTY, columns };
    const line = progressLine({ stream, everySeconds: 10, now: () => time });
    return { line, text: () => text, at: (seconds: number) => void (time = seconds) };
  }

  it("in a log: a line at once, then every so many seconds, and the last state at the end", () => {
    const { line, text, at } = recorder(false);
    for (let t = 0; t <= 25; t++) {
      at(t);
      line.update(`t ${t}`);
    }
    line.note("saved");
    line.end();
    assert.equal(text(), "t 0\nt 10\nt 20\nsaved\nt 25\n");
  });

  it("in a log: the end repeats nothing", () => {
    const { line, text } = recorder(false);
    line.update("once");
    line.end();
    line.end();
    assert.equal(text(), "once\n");
  });

  it("on a terminal: draws over itself, erases what is left of a longer line, cuts to the width", () => {
    const { line, text, at } = recorder(true);
    line.update("longer line");
    at(0.05);
    line.update("too soon");
    at(1);
    line.update("short");
    at(2);
    line.update("0123456789012345678901234");
    line.end();
    assert.equal(text(), `\rlonger line\rshort${" ".repeat(6)}\r012345678901234567…\n`);
  });

  it("on a terminal: a note goes above the line", () => {
    const { line, text } = recorder(true);
    line.update("step 1");
    line.note("saved");
    line.end();
    assert.equal(text(), "\rstep 1\r      \rsaved\n\rstep 1\n");
  });

  it("formats durations", () => {
    const rows: [number, string][] = [
      [0, "0.0 s"],
      [0.84, "0.8 s"],
      [9.94, "9.9 s"],
      [9.97, "10 s"],
      [59.6, "1 min 00 s"],
      [65, "1 min 05 s"],
      [3599.7, "1 h 00 min"],
      [7380, "2 h 03 min"],
      [NaN, "-"],
      [Infinity, "-"],
      [-1, "-"],
    ];
    for (const [seconds, expected] of rows) assert.equal(formatDuration(seconds), expected);
  });

  it("colours by NO_COLOR, FORCE_COLOR, TERM and the stream", () => {
    const tty = { write: () => true, isTTY: true };
    const pipe = { write: () => true };
    assert.isTrue(wantsColor(tty, {}));
    assert.isFalse(wantsColor(pipe, {}));
    assert.isFalse(wantsColor(tty, { NO_COLOR: "1", FORCE_COLOR: "1" }));
    assert.isTrue(wantsColor(pipe, { FORCE_COLOR: "1" }));
    assert.isFalse(wantsColor(tty, { FORCE_COLOR: "0" }));
    assert.isFalse(wantsColor(tty, { TERM: "dumb" }));
  });
});
