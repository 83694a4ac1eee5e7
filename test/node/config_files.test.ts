/** Configurations from files: one set of rules, whatever file they stand in. */
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { ArgumentError } from "../../hrm/terminal/arguments.js";
import { configure } from "../../hrm/cli/options/configure.js";
import { readRunConfig, RUN_CONFIG_FILE, writeRunConfig, type RunConfig } from "../../hrm/cli/runs/config.js";
import { JsonError, parseStrictJson } from "../../hrm/cli/inputs/strict_json.js";
import { ConfigError, isModelField, isTrainField, modelConfig, trainConfig } from "../../hrm/model/config.js";
import { findPreset } from "../../hrm/training/presets.js";
import { rejection } from "../support/rejection.js";

const preset = findPreset("sudoku4")!;

describe("JSON of configuration files", () => {
  it("is read as JSON.parse reads it", () => {
    for (const text of [
      ...[
        "1",
        "-0",
        "1.5e-3",
        '"a\\u0041\\n\\"b"',
        "true",
        "null",
        "[]",
        "{}",
        " [1, [2], {} ] ",
        '{"":{"a":[1]}}',
      ],
      JSON.stringify({ model: preset.model, train: preset.train }, null, 2),
    ]) {
      assert.equal(JSON.stringify(parseStrictJson(text)), JSON.stringify(JSON.parse(text)), text);
      assert.equal(JSON.stringify(parseStrictJson(`\ufeff${text}`)), JSON.stringify(JSON.parse(text)), text);
    }
  });

  const refused: readonly (readonly [text: string, line: number, problem: RegExp])[] = [
    ["", 1, /is not JSON \(got the end\)/],
    ['{\n"a": 1,\n}', 3, /is not JSON \(got "}"\)/],
    ["[1, 2", 1, /got the end/],
    ["[01]", 1, /is not JSON/],
    ['{"a" 1}', 1, /is not JSON/],
    ["{a: 1}", 1, /is not JSON/],
    ['"a\nb"', 1, /is not JSON/],
    ["[1]\n\n[2]", 3, /is not JSON/],
    ["1e999", 1, /beyond/],
    ['{"keep": 3,\n"keep": 0}', 2, /has the key "keep" a second time/],
    ['{"keep": 3, "k\\u0065ep": 0}', 1, /"keep" a second time/],
    ['{"model": {"a": 1, "b": 2, "a": 1}}', 1, /"a" a second time/],
    ['{"__proto__": 1, "__proto__": 2}', 1, /"__proto__" a second time/],
    ["[".repeat(100_000), 1, /nests deeper/],
  ];
  for (const [text, line, problem] of refused)
    it(`refuses ${text.slice(0, 40)}`, () => {
      const error = (() => {
        try {
          return parseStrictJson(text);
        } catch (caught) {
          return caught;
        }
      })();
      assert.instanceOf(error, JsonError);
      assert.equal(error.line, line);
      assert.match(error.message, problem);
    });
});

describe("configurations from files", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-config-"));
  });
  after(() => rm(folder, { recursive: true }));

  const run: RunConfig = {
    ...{ preset: "sudoku4", seed: 3, adapter: "a", stopAt: 0.9, evalEvery: 5, evalLimit: 8, patience: null },
    ...{
      keep: 3,
      microBatch: null,
      memoryBudget: null,
      autotune: false,
      precision: "f32",
      data: null,
      test: null,
      task: null,
      columns: null,
      validation: null,
      init: null,
    },
    ...{ model: preset.model, train: preset.train },
  };

  it("come back as they were written", async () => {
    await writeRunConfig(folder, run);
    assert.deepEqual(await readRunConfig(folder), run);
    assert.match(await readFile(join(folder, RUN_CONFIG_FILE), "utf8"), /^\{\n {2}"preset": "sudoku4",\n/);
  });

  const bad: readonly (readonly [changes: Record<string, unknown> | string, said: string])[] = [
    [{ keep: 0 }, "keep: got 0; expected an integer from 1 to 2147483647"],
    [{ keep: 1.5 }, "keep: got 1.5"],
    [{ keep: 2 ** 31 }, "keep: got 2147483648"],
    [{ keep: "3" }, 'keep: got "3"'],
    [{ keep: undefined }, "keep: got nothing"],
    [{ evalEvery: 0 }, "evalEvery: got 0"],
    [{ evalLimit: -1 }, "evalLimit: got -1"],
    [{ patience: 0 }, "patience: got 0; expected an integer from 1 to 2147483647 or null"],
    [{ seed: 2 ** 32 }, "seed: got 4294967296; expected an integer from 0 to 4294967295"],
    [{ stopAt: 1.5 }, "stopAt: got 1.5; expected a number from 0 to 1"],
    [{ memoryBudget: -1 }, "memoryBudget: got -1"],
    [{ microBatch: 3 }, "microBatch: got 3; expected a divisor of batch_size"],
    [{ microBatch: 8, memoryBudget: 8 }, "a microBatch and a memoryBudget"],
    [{ test: "x.csv" }, 'test: got "x.csv" without data'],
    [{ constructor: 1 }, 'the unknown field "constructor"'],
    [{ kep: 1 }, 'the unknown field "kep"; did you mean keep?'],
    [{ model: [] }, "model: got []; expected a JSON object"],
    [{ model: { ...preset.model, constructor: 1 } }, "config.constructor: got 1"],
    [{ train: { ...preset.train, toString: 1 } }, "config.toString: got 1"],
    [{ train: { ...preset.train, total_steps: 1e12 } }, "config.total_steps: got 1000000000000"],
    ['{"__proto__": {}', 'the unknown field "__proto__"'],
    ['{"model": {"__proto__": {"hidden_size": 0}}', "config.__proto__"],
    ['{"keep": 0', 'has the key "keep" a second time'],
  ];
  for (const [changes, said] of bad)
    it(`are refused for a resume with ${typeof changes === "string" ? changes : said}`, async () => {
      let text = JSON.stringify({ ...run, ...(typeof changes === "string" ? {} : changes) });
      if (typeof changes === "string") {
        const { model: _, ...rest } = run;
        text = `${changes}, ${JSON.stringify(changes.includes("model") ? rest : run).slice(1)}`;
      }
      await writeFile(join(folder, RUN_CONFIG_FILE), text);
      const error = await rejection(readRunConfig(folder));
      assert.instanceOf(error, ArgumentError);
      assert.include(error.message, said);
    });

  const fields: readonly (readonly [text: string, said: string])[] = [
    ['{"constructor": 1}', 'the unknown field "constructor"'],
    ['{"__proto__": {"hidden_size": 1}}', 'the unknown field "__proto__"'],
    ['{"hidden_size": 64, "hidden_size": 32}', "a second time"],
    ['{"H_cycles": 1e300}', "H_cycles: got 1e+300; expected a positive integer of at most 1024"],
    ['{"total_steps": 1e12}', "total_steps: got 1000000000000"],
    ['{"pos_init_scale": 1e39}', "pos_init_scale: got 1e+39; expected a number above 0, in the range of f32"],
    ['{"rms_norm_eps": 1e-60}', "rms_norm_eps: got 1e-60"],
    ['{"expansion": 1e9}', "expansion: got 1000000000; expected a SwiGLU inner size of at most 2147483647"],
    ["3", "holds 3"],
  ];
  for (const [text, said] of fields)
    it(`are refused with --config ${text}`, async () => {
      const file = join(folder, "fields.json");
      await writeFile(file, text);
      const error = await rejection(configure(preset, { config: file }));
      assert.instanceOf(error, ArgumentError);
      assert.include(error.message, said);
    });

  it("are refused if they are too large to be one, unread", async () => {
    const file = join(folder, "large.json");
    await writeFile(file, "");
    await truncate(file, 3e9);
    assert.include((await rejection(configure(preset, { config: file }))).message, "has 3000000000 bytes");
  });

  it("know no field that objects bring along", () => {
    for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
      assert.isFalse(isModelField(name) || isTrainField(name), name);
      const given = Object.defineProperty({}, name, { value: 1, enumerable: true });
      assert.throws(() => modelConfig(given), ConfigError);
      assert.throws(() => trainConfig(given), ConfigError);
    }
  });
});
