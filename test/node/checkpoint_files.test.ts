/** `hrm convert`, and weights of any origin under `hrm eval` and `hrm solve`. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { assert } from "chai";
import { readSafetensors, readTorch, writeTorch, type SafetensorsTensor } from "../../hrm/files/index.js";
import { initialState } from "../../hrm/index.js";
import { json, run } from "../support/command_line.js";
import { readFixture } from "../support/platform.js";
import { official } from "../support/tiny.js";

const bytesOf = ({ data }: Pick<SafetensorsTensor, "data">): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** What the shapes of tiny weights do not tell. */
const { num_heads, H_cycles, L_cycles, halt_max_steps, seq_len, vocab_size } = official;
const UNTOLD = { num_heads, H_cycles, L_cycles, halt_max_steps };

/** Random weights as the official code saves them: a compiled model in its loss head, initial states in bf16. */
function officialTensors(): Map<string, SafetensorsTensor> {
  return new Map(
    [...initialState(official, 5)].map(([name, { shape, data }]): [string, SafetensorsTensor] => {
      const f32 = data as Float32Array;
      if (!/[HL]_init$/.test(name)) return [`_orig_mod.model.${name}`, { dtype: "F32", shape, data: f32 }];
      const high = Uint16Array.from(new Uint32Array(f32.slice().buffer), (bits) => bits >>> 16);
      return [`_orig_mod.model.${name}`, { dtype: "BF16", shape, data: new Uint8Array(high.buffer) }];
    }),
  );
}

describe("checkpoint files on the command line @slow", () => {
  let folder: string;
  const tensors = officialTensors();
  const file = async (name: string): Promise<Uint8Array> =>
    new Uint8Array(await readFile(join(folder, name)));

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-files-"));
    const puzzles = Array.from({ length: 5 }, (_, i) => {
      const grid = [0, 1, 2, 3, 4, 5].map((cell) => (cell * (i + 1) + i) % vocab_size);
      return JSON.stringify({ input: [grid], label: [[...grid].reverse()], identifier: i % 3 });
    });
    const files: Record<string, Uint8Array | string> = {
      step_7: writeTorch(tensors),
      "untold.json": JSON.stringify(UNTOLD),
      "cells.json": JSON.stringify({ ...UNTOLD, seq_len }),
      "wrong.json": JSON.stringify({ hidden_size: 512 }),
      "puzzles.jsonl": puzzles.join("\n"),
      "sudoku.csv": "123412344321432x,1\n",
      "text.pt": "not a checkpoint",
    };
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it("converts a PyTorch file to safetensors and back without losing a name, a type or a bit", async () => {
    const there = await run(folder, "convert", "step_7", "there.safetensors", "--json");
    assert.equal(there.code, 0, there.stderr);
    assert.deepEqual(json(there), {
      path: "there.safetensors",
      format: "safetensors",
      tensors: tensors.size,
    });
    const back = await run(folder, "convert", "there.safetensors", "back.pt");
    assert.equal(back.code, 0, back.stderr);
    assert.match(back.stdout, /^back\.pt: \d+ tensors, PyTorch\n$/);
    for (const read of [
      readSafetensors(await file("there.safetensors")).tensors,
      readTorch(await file("back.pt")),
    ]) {
      assert.sameMembers([...read.keys()], [...tensors.keys()]);
      for (const [name, { dtype, shape, data }] of tensors) {
        assert.equal(read.get(name)!.dtype, dtype, name);
        assert.deepEqual([...read.get(name)!.shape], [...shape], name);
        assert.deepEqual(bytesOf(read.get(name)!), bytesOf({ data }), name);
      }
    }
  });

  it("reads a checkpoint at an address and by a file: URL as at its path, and says what is not there", async () => {
    const server = createServer((request, response) => {
      if (request.url === "/step_7") response.end(writeTorch(tensors));
      else response.writeHead(404).end();
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const plain = await run(folder, "convert", "step_7", "plain.safetensors");
      assert.equal(plain.code, 0, plain.stderr);
      for (const [i, from] of [
        `${address}/step_7`,
        String(pathToFileURL(join(folder, "step_7"))),
      ].entries()) {
        const { code, stderr } = await run(folder, "convert", from, `same${i}.safetensors`);
        assert.equal(code, 0, stderr);
        assert.equal(
          Buffer.compare(await file(`same${i}.safetensors`), await file("plain.safetensors")),
          0,
          from,
        );
      }
      for (const [from, reason] of [
        [`${address}/none`, "there is no such file (404)"],
        [`${address}/`, "it is the address of a folder"],
        ["file:///none", "no such file"],
      ] as const)
        for (const args of [
          ["convert", from, "out.safetensors"],
          ["eval", "--checkpoint", from],
        ]) {
          const { code, stderr } = await run(folder, ...args);
          assert.equal(code, 2, stderr);
          assert.include(stderr, reason);
        }
    } finally {
      server.close();
    }
  });

  it("converts the official samples without losing a bit", async function () {
    for (const name of ["fp32_cpu", "bf16_cuda_torch2", "nocompile"]) {
      const original = await readFixture(`checkpoints/${name}/step_12`);
      if (!original) {
        console.log("      skipped: no ../shared/fixtures/checkpoints");
        this.skip();
      }
      const path = resolve(`../shared/fixtures/checkpoints/${name}/step_12`);
      for (const args of [
        [path, `${name}.safetensors`],
        [`${name}.safetensors`, `${name}.pth`],
      ])
        assert.equal((await run(folder, "convert", ...args)).code, 0);
      const back = readTorch(await file(`${name}.pth`));
      for (const [key, { dtype, data }] of readTorch(original)) {
        assert.equal(back.get(key)!.dtype, dtype, key);
        assert.deepEqual(bytesOf(back.get(key)!), bytesOf({ data }), key);
      }
    }
  });

  it("keeps an existing file if the input is bad or the folder cannot be made", async () => {
    await writeFile(join(folder, "kept.safetensors"), "kept");
    const bad = await run(folder, "convert", "text.pt", "kept.safetensors");
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /<input> "text\.pt": safetensors: /);
    assert.equal(await readFile(join(folder, "kept.safetensors"), "utf8"), "kept");
    const nowhere = await run(folder, "convert", "step_7", "/proc/none/out.safetensors");
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /OutputError: Cannot write "\/proc\/none\/out\.safetensors"/);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.endsWith(".partial")),
      [],
    );
  });

  describe("names what is wrong with weights that come alone, exit code 2", () => {
    const table: readonly (readonly [args: string, ...said: string[]])[] = [
      ["eval --checkpoint text.pt", '--checkpoint "text.pt": safetensors: '],
      ["eval --checkpoint step_7", "nothing tells how many cells a puzzle has", "--preset", "--config"],
      ["eval --checkpoint step_7 --preset nosuch", '--preset: got "nosuch"'],
      ["eval --checkpoint step_7 --preset sudoku4", "--preset sudoku4: vocab_size: got 6; expected 7"],
      ["eval --checkpoint step_7 --config none.json", "--config none.json: cannot be read"],
      [
        "eval --checkpoint step_7 --config wrong.json",
        "--config wrong.json: hidden_size: got 512; expected 8",
      ],
      ["eval --checkpoint step_7 --data sudoku.csv", "--data", "sudoku.csv"],
      [
        "solve --checkpoint step_7 --config cells.json 12",
        "<puzzle>: grid-1x6-v7: got 2 characters; expected 6",
      ],
      ["solve --checkpoint step_7 --config cells.json 123451 --data puzzles.jsonl", "a puzzle and a file"],
      ["eval --checkpoint step_7 --data puzzles.jsonl --test puzzles.jsonl", "a second file beside --data"],
    ];
    for (const [args, ...said] of table) {
      it(`hrm ${args}`, async () => {
        const { code, stdout, stderr } = await run(folder, ...args.split(" "));
        assert.equal(code, 2, stderr);
        assert.equal(stdout, "");
        for (const text of said) assert.include(stderr, text);
      });
    }
  });

  it("evaluates and solves with a PyTorch file and its safetensors alike, and says what it assumed @slow", async () => {
    const converted = await run(folder, "convert", "step_7", "weights.safetensors");
    assert.equal(converted.code, 0, converted.stderr);
    const scores: Record<string, unknown>[] = [];
    for (const checkpoint of ["step_7", "weights.safetensors"]) {
      const data = ["--checkpoint", checkpoint, "--data", "puzzles.jsonl", "--config", "untold.json"];
      const finished = await run(folder, "eval", ...data, "--json");
      assert.equal(finished.code, 0, finished.stderr);
      assert.match(finished.stderr, /the file does not tell rms_norm_eps .*rope_theta .*causal .*assumed/);
      assert.match(finished.stderr, /tensors of a (PyTorch|safetensors) file, taken for grid-1x6-v7/);
      scores.push(json(finished));
    }
    assert.deepInclude(scores[0], { count: 5, meanSteps: halt_max_steps });
    assert.deepEqual(scores[1], scores[0]);
    const solve = ["solve", "--checkpoint", "step_7", "--config", "cells.json", "123456", "--json"];
    const solved = await run(folder, ...solve);
    const { answer, segments } = json(solved) as { answer: string; segments: unknown[] };
    assert.lengthOf(answer, seq_len, solved.stderr);
    assert.lengthOf(segments, halt_max_steps);
  });
});
