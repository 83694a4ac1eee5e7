/**
 * Spreads out Dawn's polls. While a promise of Dawn for Node is pending, Dawn hands a callback to the global `setImmediate`
 * over and over. That keeps one core busy for as long as the GPU works, and a software adapter needs that core for shaders.
 * The longer a wait has lasted, the longer the pause before the next poll: Dawn notices the end of a wait late by at most
 * 1/32 of the wait, or by one millisecond. Every other use of `setImmediate` is left alone.
 */
const SHARE = 1 / 32;
const LONGEST_MS = 1;

type Callback = () => void;
type SetImmediate = (callback: (...args: unknown[]) => void, ...args: unknown[]) => unknown;

/** What the throttle needs of Node's event loop. */
export interface EventLoop {
  readonly setImmediate: SetImmediate;
  /** Calls `callback` after `ms` milliseconds. */
  readonly setTimeout: (callback: () => void, ms: number) => unknown;
  /** Milliseconds since some start. */
  readonly now: () => number;
  /** Blocks the thread for `ms` milliseconds. */
  readonly sleep: (ms: number) => void;
}

/** Whether the arguments of `setImmediate` are Dawn's poll: an anonymous native function without parameters. */
function isDawnPoll(args: readonly unknown[]): args is [Callback] {
  const [callback] = args;
  return (
    args.length === 1 &&
    typeof callback === "function" &&
    callback.length === 0 && // `resolve` of a promise is native and anonymous, too, but takes one argument.
    callback.name === "" &&
    Function.prototype.toString.call(callback) === "function () { [native code] }"
  );
}

/** `loop.setImmediate` with pauses before Dawn's polls. */
export function throttled(loop: EventLoop): SetImmediate {
  let [polling, start] = [false, 0];
  return (...args) => {
    if (!isDawnPoll(args)) return loop.setImmediate(...args);
    const now = loop.now();
    // A poll schedules the next poll only while a promise is pending. A poll scheduled from elsewhere begins a new wait.
    if (!polling) start = now;
    const pause = SHARE * (now - start);
    const poll = (): void => {
      polling = true;
      try {
        args[0]();
      } finally {
        polling = false;
      }
    };
    if (pause >= LONGEST_MS) return loop.setTimeout(poll, LONGEST_MS);
    return loop.setImmediate(() => {
      if (pause > 0) loop.sleep(pause);
      poll();
    });
  };
}

/** Throttles Dawn's polls in this thread from now on. Call it once. */
export function throttleDawnPolling(): void {
  const { setImmediate, setTimeout } = globalThis;
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const apply = throttled({
    setImmediate,
    setTimeout,
    now: () => performance.now(),
    sleep: (ms) => void Atomics.wait(cell, 0, 0, ms),
  });
  // A proxy keeps the properties of setImmediate, such as its promisified form.
  globalThis.setImmediate = new Proxy(setImmediate, {
    apply: (_, __, args: Parameters<SetImmediate>) => apply(...args),
  });
}
