/**
 * Rests while Dawn waits. Dawn for Node polls: while any of its promises is pending, it hands a callback to the global
 * `setImmediate`, over and over. That takes a whole core for as long as the GPU works, and where shaders run on the CPU they
 * need it. So its polls, and nothing else that goes through `setImmediate`, are spread out here: the longer a wait already is,
 * the further apart, so that its end is noticed late by at most 1/32 of it, or by a millisecond.
 */
const SHARE = 1 / 32;
const LONGEST_MS = 1;

type Callback = () => void;

/** A function of no arguments and no name, made by an addon: what Dawn schedules. A promise's `resolve` takes one. */
function isPoll(args: readonly unknown[]): args is [Callback] {
  const [callback] = args;
  return (
    args.length === 1 &&
    typeof callback === "function" &&
    callback.length === 0 &&
    callback.name === "" &&
    Function.prototype.toString.call(callback) === "function () { [native code] }"
  );
}

/** Spreads out Dawn's polls from now on; once for a process or worker. */
export function paceDawn(): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  let [polling, start] = [false, 0];
  globalThis.setImmediate = new Proxy(globalThis.setImmediate, {
    apply(setImmediate: typeof globalThis.setImmediate, self: unknown, args: unknown[]): unknown {
      if (!isPoll(args)) return Reflect.apply(setImmediate, self, args);
      const now = performance.now();
      // A poll that finds nothing left to wait for schedules no other: this is the first of a new wait.
      if (!polling) start = now;
      const pause = SHARE * (now - start);
      const poll = (rest: number): void => {
        if (rest > 0) Atomics.wait(cell, 0, 0, rest);
        polling = true;
        try {
          args[0]();
        } finally {
          polling = false;
        }
      };
      return pause < LONGEST_MS ? setImmediate(poll, pause) : setTimeout(poll, LONGEST_MS, 0);
    },
  });
}
