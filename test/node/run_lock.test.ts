/** Locks of run folders, and stops by Ctrl-C. */
import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { ArgumentError } from "../../hrm/terminal/arguments.js";
import { watchInterrupt, type Interruptible } from "../../hrm/cli/runs/interrupt.js";
import { OutputError } from "../../hrm/cli/disk/output.js";
import { lockRun, thisMachine, type Holder, type Machine } from "../../hrm/cli/runs/lock.js";
import { TestFileSystem } from "../support/power_cut.js";
import { rejection } from "../support/rejection.js";

describe("the lock of a run's folder", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-lock-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  /** A machine on which processes 1 and 2 run, seen by process 1. */
  const machine = (
    changes: Partial<Omit<Holder, "since">> = {},
    alive: Record<number, string> = {},
  ): Machine => ({
    self: () => ({ ...{ pid: 1, started: "100", host: "here", boot: "b", space: "s" }, ...changes }),
    startOf: (pid) => ({ 1: "100", 2: "200", ...alive })[pid] ?? null,
  });
  const held = (changes: Partial<Holder> = {}): string =>
    JSON.stringify({
      ...{ pid: 2, started: "200", host: "here", boot: "b", space: "s", since: "2026-01-01T00:00:00.000Z" },
      ...changes,
    });

  it("is held by one, told to others, and free when it is given back", async () => {
    const lock = await lockRun(folder);
    const error = await rejection(lockRun(folder));
    assert.instanceOf(error, ArgumentError);
    assert.include(error.message, `"${folder}": process ${process.pid} works in it since 20`);
    assert.include(error.message, "Stop that process or wait for its end");
    await lock.release();
    assert.isEmpty(await readdir(folder));
    await (await lockRun(folder)).release();
  });

  it("is given to one at most of many that ask at once", async () => {
    const asked = await Promise.allSettled(Array.from({ length: 6 }, () => lockRun(folder)));
    assert.isAtMost(asked.filter(({ status }) => status === "fulfilled").length, 1);
    for (const result of asked)
      if (result.status === "rejected") assert.instanceOf(result.reason, ArgumentError);
  });

  it("outlives a process that was killed, and is taken over from it alone", async () => {
    const child = spawn(process.execPath, ["-e", "setTimeout(() => {}, 1e6)"], { stdio: "ignore" });
    await once(child, "spawn");
    const pid = child.pid!;
    const started = thisMachine.startOf(pid);
    await writeFile(
      join(folder, "lock-x.json"),
      JSON.stringify({ ...thisMachine.self(), pid, started, since: "" }),
    );
    assert.include((await rejection(lockRun(folder))).message, `process ${pid} works in it`);
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    const { stale } = await lockRun(folder);
    assert.deepEqual(
      stale.map((holder) => holder?.pid),
      [pid],
    );
    assert.lengthOf(await readdir(folder), 1);
  });

  const table: readonly (readonly [what: string, lock: string, here: Machine, refused: RegExp | null])[] = [
    ["a process that is at work", held(), machine(), /process 2 works in it since 2026-01-01/],
    ["a later process of that number", held({ started: "150" }), machine(), null],
    ["a process that is gone", held({ pid: 3 }), machine(), null],
    ["a process from before the machine started again", held({ boot: "a" }), machine(), null],
    [
      "another machine",
      held({ boot: "a", host: "there" }),
      machine(),
      /process 2 on "there".*remove .*lock-x/,
    ],
    ["another container", held({ space: "t", pid: 3 }), machine(), /on "here", which cannot be seen.*remove/],
    [
      "a machine without starts",
      held({ started: null }),
      machine({ started: null, boot: "b" }, { 2: "" }),
      /process 2/,
    ],
    ["a machine without boots", held({ boot: null, host: "there" }), machine({ boot: null }), /on "there"/],
    ["nobody, as its file is damaged", '{"pid": 2, "sta', machine(), null],
    ["nobody, as its file is empty", "", machine(), null],
    ["nobody, as its file is no lock", '{"pid": "2"}', machine(), null],
  ];
  for (const [holder, lock, here, refused] of table)
    it(`${refused ? "is refused if it belongs to" : "is taken over from"} ${holder}`, async () => {
      const fs = TestFileSystem.of({ "/run/lock-x.json": lock });
      const asked = lockRun("/run", { fs, machine: here });
      if (refused) {
        assert.match((await rejection(asked)).message, refused);
        assert.deepEqual(fs.files(), ["/run/lock-x.json"]);
      } else {
        assert.lengthOf((await asked).stale, 1);
        assert.lengthOf(fs.files(), 1);
        assert.notInclude(fs.files(), "/run/lock-x.json");
      }
    });

  it("is given to nobody, and removed from nobody at work, whichever call fails", async () => {
    const start = (): TestFileSystem => TestFileSystem.of({ "/run/lock-x.json": held() });
    const whole = start();
    await rejection(lockRun("/run", { fs: whole, machine: machine() }));
    for (let call = 0; call < whole.calls.length; call++) {
      const fs = start();
      fs.failAt = { call, code: "EACCES" };
      const error = await rejection(lockRun("/run", { fs, machine: machine() }));
      assert.isTrue(error instanceof ArgumentError || error instanceof OutputError, whole.calls[call]);
      assert.include(fs.files(), "/run/lock-x.json", whole.calls[call]);
    }
  });
});

describe("Ctrl-C", () => {
  /** A process that can be sent signals. */
  const target = (): Interruptible & { emit(name: string, signal: string): boolean; exits: number[] } => {
    const exits: number[] = [];
    const exit = ((code: number) => exits.push(code)) as never;
    return Object.assign(new EventEmitter(), { exit, exits }) as never;
  };

  it("gives up work that nobody needs to end, and starts none after it", async () => {
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      const on = target();
      let requests = 0;
      const interruption = watchInterrupt(() => requests++, { on });
      assert.equal(await interruption.unlessStopped(() => Promise.resolve(5)), 5);
      const endless = interruption.unlessStopped(() => new Promise<number>(() => undefined));
      on.emit(signal, signal);
      assert.isNull(await endless);
      assert.isNull(await interruption.unlessStopped(() => assert.fail("was started")));
      assert.deepEqual([interruption.signal, interruption.exitCode, requests], [signal, code, 1]);
      // A second press of the key, not a signal that arrives twice, ends the process.
      on.emit(signal, signal);
      assert.isEmpty(on.exits);
      interruption.dispose();
      assert.isFalse(on.emit(signal, signal));
    }
  });

  it("passes on the failure of work that is waited for, and hears of no other", async () => {
    const on = target();
    const interruption = watchInterrupt(() => undefined, { on });
    const failed = await rejection(interruption.unlessStopped(() => Promise.reject(new Error("failed"))));
    assert.equal(failed.message, "failed");
    let fail = (_: Error): void => undefined;
    const unheard = interruption.unlessStopped(() => new Promise<never>((_, reject) => (fail = reject)));
    on.emit("SIGINT", "SIGINT");
    assert.isNull(await unheard);
    fail(new Error("unheard"));
    await new Promise((done) => setTimeout(done));
  });
});
