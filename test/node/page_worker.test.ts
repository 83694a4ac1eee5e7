/** The page's worker without a page: it opens the shipped model, trains, pauses, saves, and resumes to the bit. */
import { assert } from "chai";
import { readFile } from "node:fs/promises";
import { requestAdapter } from "../../engine/node/dawn.js";
import type { Command, Look, Report } from "../../docs/playground/protocol.js";
import { presetRun } from "../../docs/playground/run_config.js";
import { SHIPPED } from "../../docs/playground/models/shipped.js";
import { decodeCheckpoint } from "../../hrm/files/checkpoints/checkpoint.js";
import { findTask } from "../../hrm/puzzles/tasks/registry.js";

type ReportOf<T extends Report["type"]> = Extract<Report, { type: T }>;

describe("the page's worker @slow", function () {
  this.timeout(600_000);
  const reports: Report[] = [];
  let told: (() => void) | null = null;
  const scope = globalThis as unknown as {
    postMessage?: (message: Report) => void;
    onmessage?: (event: { data: Command | Look }) => void;
  };
  const send = (data: Command | Look): void => scope.onmessage!({ data });

  /** Waits for a report, from those after the last one waited for. */
  let read = 0;
  async function until<T extends Report["type"]>(
    type: T,
    fits: (report: ReportOf<T>) => boolean = () => true,
  ): Promise<ReportOf<T>> {
    for (;;) {
      while (read < reports.length) {
        const report = reports[read++]!;
        if (report.type === "failure") throw new Error(report.failure.message);
        if (report.type === type && fits(report as ReportOf<T>)) return report as ReportOf<T>;
      }
      await new Promise<void>((resolve) => (told = resolve));
    }
  }

  // Later files in this process find the globals as they were.
  const navigator = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  after(() => {
    if (navigator) Object.defineProperty(globalThis, "navigator", navigator);
    else delete (globalThis as { navigator?: unknown }).navigator;
    delete scope.postMessage;
    delete scope.onmessage;
  });

  before(async () => {
    // What a worker of a browser has: WebGPU, and a way to post messages.
    const adapter = (await requestAdapter("npm", [], {})) ?? (await requestAdapter("system", [], {}));
    const gpu = { requestAdapter: () => Promise.resolve(adapter) };
    Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "test" }, configurable: true });
    scope.postMessage = (message) => {
      reports.push(message);
      told?.();
    };
    await import("../../docs/playground/worker/worker.js");
  });

  const run = { ...presetRun("sudoku4"), seed: 7, steps: 12, target: 1 };
  const bytesOf = async (): Promise<Uint8Array<ArrayBuffer>> =>
    new Uint8Array(await readFile(`docs/playground/${SHIPPED.file}`));

  it("thinks with the model that comes with the page, which its command trained", async () => {
    const bytes = await bytesOf();
    const { seed, config, step } = decodeCheckpoint(bytes);
    const option = (name: string): number => Number(new RegExp(`--${name} (\\d+)`).exec(SHIPPED.command)![1]);
    assert.equal(seed, option("seed"));
    assert.isAtMost(step, option("steps"));
    for (const name of ["H_cycles", "L_cycles", "halt_max_steps"] as const)
      assert.equal(config[name], option(name), name);

    send({ type: "open", name: SHIPPED.file, bytes, own: false });
    const { model } = await until("model");
    const task = findTask(model.task)!;
    const inputs = model.held.inputs.slice(0, task.length);
    send({ type: "think", source: "file", inputs });
    const { thought } = await until("thought");
    const last = thought.tokens.subarray(-task.length);
    assert.isTrue(task.check(inputs, last).solved);
    send({ type: "census", source: "file" });
    const { census } = await until("census");
    assert.equal(census.puzzles, 100);
    assert.equal(census.segments, 2 * model.segments);
    // The census of the first puzzle is the thought about it.
    const width = thought.levels.length;
    for (let s = 0; s < thought.segments; s++)
      assert.closeTo(census.qHalt[s]!, thought.qHalt[(s + 1) * width - 1]!, 1e-3);
  });

  it("refuses a file that is no checkpoint, and goes on", async () => {
    send({ type: "open", name: "letter.txt", bytes: new Uint8Array(100), own: true });
    const { failure } = await until("refused");
    assert.match(failure.message, /^letter\.txt: /);
    assert.equal(failure.code, "file");
  });

  it("trains, pauses, and resumes from what it saved to the bit", async () => {
    send({ type: "prepare", run });
    // Kept until its turn comes.
    send({ type: "start" });
    assert.equal((await until("phase")).phase, "preparing");
    await until("compiling", ({ done, total }) => total > 0 && done <= total);
    const progress = await until("progress");
    assert.equal(progress.step, 5);
    assert.lengthOf(progress.metrics, 5);
    send({ type: "pause" });
    const kept = await until("checkpoint");
    assert.equal(kept.purpose, "keep");
    await until("phase", ({ phase }) => phase === "paused");
    const at = kept.step;
    assert.isBelow(at, run.steps);
    const copy = kept.bytes.slice();
    send({ type: "start" });
    const test = await until("test");
    assert.equal(test.step, run.steps);
    await until("phase", ({ phase }) => phase === "finished");
    send({ type: "save", purpose: "download" });
    const whole = await until("checkpoint", ({ purpose }) => purpose === "download");

    send({ type: "prepare", run, resume: copy });
    const resumed = await until("run");
    assert.deepEqual([resumed.step, resumed.differences], [at, []]);
    await until("phase", ({ phase }) => phase === "ready");
    send({ type: "start" });
    await until("phase", ({ phase }) => phase === "finished");
    send({ type: "save", purpose: "download" });
    const again = await until("checkpoint", ({ purpose }) => purpose === "download");
    assert.equal(again.name, "sudoku4-seed7-step12.safetensors");
    assert.isTrue(Buffer.from(again.bytes).equals(Buffer.from(whole.bytes)));
  });

  it("ignores requests that a phase does not accept, and says why a configuration is invalid", async () => {
    send({ type: "pause" });
    send({ type: "prepare", run: { ...run, products: "mixed" } });
    const { failure } = await until("failure" as "refused").catch((error: Error) => ({
      failure: { message: error.message },
    }));
    assert.match(failure.message, /Mixed precision/);
    await until("phase", ({ phase }) => phase === "failed");
  });
});
