/** Pauses between Dawn's polls: the rule in virtual time, and what the installed `setImmediate` leaves alone. */
import { expect } from "chai";
import { promisify } from "node:util";
import { compile, f32, matmul } from "../../engine/index.js";
import { throttled } from "../../engine/node/throttle_dawn_polling.js";
import { testDevice } from "../support/device.js";

/** An event loop whose time is a number: a turn takes `turnMs`. Returns how many callbacks of it ran in `forMs`. */
function polls(forMs: number, turnMs: number, throttle: boolean): { times: number[]; late: number } {
  let [time, late] = [0, 0];
  const queue: (() => void)[] = [];
  const loop = {
    setImmediate: (callback: (...args: unknown[]) => void) => queue.push(callback),
    setTimeout: (callback: () => void, ms: number) => queue.push(() => ((time += ms), callback())),
    now: () => time,
    sleep: (ms: number) => (time += ms),
  };
  const schedule = throttle ? throttled(loop) : loop.setImmediate;
  const times: number[] = [];
  // Dawn's callback is a native function: so is a bound function, once its name is empty.
  const poll: () => void = (() => {
    times.push(time);
    if (time < forMs) schedule(poll);
    else late = time - forMs;
  }).bind(null);
  Object.defineProperty(poll, "name", { value: "" });
  schedule(poll);
  for (let next = queue.shift(); next; next = queue.shift()) {
    time += turnMs;
    next();
  }
  return { times, late };
}

describe("throttled polling of Dawn", () => {
  it("polls far less often than the event loop turns, and ends a wait late by 1/32 or a millisecond", () => {
    for (const wait of [0.5, 3, 20, 250]) {
      const turn = 0.01;
      const [without, { times, late }] = [polls(wait, turn, false), polls(wait, turn, true)];
      expect(without.times.length, "polls without pauses").to.be.within(wait / turn - 1, wait / turn + 1);
      // Pauses grow geometrically by 1/32 up to 32 ms; from there on they are a millisecond.
      const growth = Math.log(1 + Math.min(wait, 32) / (32 * turn)) / Math.log(1 + 1 / 32);
      expect(times.length, `polls in ${wait} ms`).to.be.below(growth + 32 + Math.max(0, wait - 32) + 2);
      expect(late).to.be.at.most(Math.min(wait / 32, 1) + 2 * turn);
    }
  });

  it("begins each wait without a pause", () => {
    const { times } = polls(100, 0.001, true);
    expect(times[0]).to.equal(0.001);
    expect(times[1]).to.be.below(0.003);
  });

  it("knows Dawn's callback", async () => {
    const device = await testDevice();
    const program = await compile(device, { a: f32(8, 8) }, ({ a }) => ({ c: matmul(a, a) }));
    const throttle = globalThis.setImmediate;
    const callbacks: unknown[] = [];
    globalThis.setImmediate = new Proxy(throttle, {
      apply(target, self, args: unknown[]): unknown {
        callbacks.push(args[0]);
        return Reflect.apply(target, self, args);
      },
    });
    try {
      await program.run({ a: new Float32Array(64).fill(1) });
      await device.idle();
    } finally {
      globalThis.setImmediate = throttle;
      program.destroy();
    }
    const handed: unknown[] = [];
    const scheduled = throttled({
      setImmediate: (callback) => handed.push(callback),
      setTimeout: () => undefined,
      now: () => 0,
      sleep: () => undefined,
    });
    const dawns = callbacks.filter((callback) => String(callback) === "function () { [native code] }");
    expect(dawns, "callbacks that Dawn scheduled").not.to.have.lengthOf(0);
    const before = dawns[0] as () => void;
    scheduled(before);
    expect(handed[0], "the callback is wrapped in a pause").not.to.equal(before);
  });

  it("leaves every other use of setImmediate as it was", async () => {
    await testDevice();
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect(await promisify(setImmediate)("value")).to.equal("value");
    expect(await new Promise((resolve) => setImmediate((a, b) => resolve([a, b]), 1, 2))).to.deep.equal([
      1, 2,
    ]);
    let ran = false;
    clearImmediate(setImmediate(() => (ran = true)));
    await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(ran).to.equal(false);
  });
});
