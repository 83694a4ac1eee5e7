/** Checkpoints that outsiders have, as they lie in ../shared/cases: which weights each of them gives. Node only. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { assert } from "chai";
import { decodeCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { FileFormatError, readTorch } from "../../hrm/files/index.js";
import { storedWeights } from "../../hrm/files/checkpoints/found_weights.js";
import {
  officialState,
  openCheckpoint,
  type OpenedCheckpoint,
} from "../../hrm/files/checkpoints/official.js";
import type { StateDict } from "../../hrm/model/parameters.js";
import { findPreset } from "../../hrm/training/presets.js";

const ROOT = "../shared/cases";

describe("checkpoints of outsiders", () => {
  let raw: StateDict;
  let average: StateDict;
  const bytes = (path: string): Uint8Array => new Uint8Array(readFileSync(`${ROOT}/${path}`));
  const { num_heads, H_cycles, L_cycles, halt_max_steps } = findPreset("sudoku4")!.model;
  const open = (path: string): OpenedCheckpoint =>
    openCheckpoint(bytes(path), {
      config: { num_heads, H_cycles, L_cycles, halt_max_steps },
      task: "sudoku4",
    });

  before(function () {
    if (!existsSync(ROOT)) {
      console.log(`      skipped: no ${ROOT}`);
      this.skip();
    }
    const ours = decodeCheckpoint(bytes("sudoku4.safetensors"));
    raw = officialState(readTorch(bytes("weights.pt")));
    average = ours.ema!;
    assertSame(raw, ours.raw);
  });

  function assertSame(got: StateDict, expected: StateDict): void {
    assert.sameMembers([...got.keys()], [...expected.keys()]);
    for (const [name, { shape, data }] of expected) {
      assert.deepEqual([...got.get(name)!.shape], [...shape], name);
      assert.deepEqual([...got.get(name)!.data], [...data], name);
    }
  }

  const table: readonly [folder: string, weights: "raw" | "both" | "average", notes: RegExp][] = [
    ["29-ema-ignored/w01", "both", /^not used: optimizers, step$/],
    ["29-ema-ignored/w03", "both", /^$/],
    [
      "29-ema-ignored/w04",
      "average",
      /moving average \(EMA\) of weights alone, which is used\nnot used: step$/,
    ],
    ["30-prefixes", "raw", /^$/],
    ["31-int-buffer", "raw", /^not used: [\w.]+( \(I32\))?$/],
    ["32-extra-objects/t", "raw", /^$/],
    ["32-extra-objects/x", "raw", /^not used: \w+$/],
    ["33-float64", "raw", /^15 tensors of float64 were rounded to f32$/],
  ];
  for (const [prefix, weights, notes] of table)
    it(`${prefix}: every file gives ${weights === "both" ? "the raw weights and their average" : weights}`, () => {
      const [folder, start = ""] = prefix.split("/") as [string, string?];
      const files = readdirSync(`${ROOT}/${folder}`).filter(
        (name) => name.startsWith(start) && /\.(pt|safetensors)$/.test(name),
      );
      assert.isNotEmpty(files);
      for (const file of files) {
        const { checkpoint, averageAlone, notes: said } = open(`${folder}/${file}`);
        assert.match(said.join("\n"), notes, file);
        assert.equal(averageAlone, weights === "average", file);
        assertSame(checkpoint.raw, weights === "average" ? average : raw);
        if (weights === "raw") assert.isNull(checkpoint.ema, file);
        else assertSame(checkpoint.ema!, average);
        const stored = storedWeights(bytes(`${folder}/${file}`));
        if (stored.raw) assertSame(officialState(stored.raw), raw);
        if (stored.average) assertSame(officialState(stored.average), average);
      }
    });

  it("27-lfs-pointer: a pointer is named with the size of its file", () => {
    assert.throws(
      () => open("27-lfs-pointer/step_52083"),
      FileFormatError,
      /Git LFS pointer of a file of 109112345 bytes.*git lfs pull/,
    );
  });

  it("50-costly-pickle: a pickle whose calls copy their arguments is refused", () => {
    assert.throws(() => open("50-costly-pickle/pickle_shape.pt"), FileFormatError, /150000 dimensions/);
  });
});
