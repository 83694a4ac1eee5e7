/** Ctrl-C: the first press asks for a clean stop, and a second press ends the process at once. */

/** Under `npm run` one press of Ctrl-C can arrive as two signals within milliseconds, which count as one. */
const SAME_PRESS_MS = 1000;

/** A watch over SIGINT and SIGTERM. */
export interface Interruption {
  /** The signal that asked to stop; null if none has come. */
  readonly signal: "SIGINT" | "SIGTERM" | null;
  /** The exit code of shells: 130 for SIGINT and 143 for SIGTERM. */
  readonly exitCode: number;
  /** Returns the result of some work, or null as soon as a stop is requested. The work then goes on, and its result is ignored. */
  unlessStopped<T>(work: () => Promise<T>): Promise<T | null>;
  /** Restores the default handling of the signals. */
  dispose(): void;
}

/** A source of signals that can be ended: the process, or a fake in tests. */
export type Interruptible = Pick<NodeJS.Process, "on" | "off" | "exit">;

/** Watches for a request to stop. `onRequest` runs at the first request. */
export function watchInterrupt(
  onRequest: () => void,
  { on = process }: { readonly on?: Interruptible } = {},
): Interruption {
  let signal: Interruption["signal"] = null;
  let at = 0;
  let request = (): void => undefined;
  const requested = new Promise<null>((resolve) => (request = () => resolve(null)));
  const exitCode = (): number => (signal === "SIGTERM" ? 143 : 130);
  const listener = (name: NodeJS.Signals): void => {
    if (signal === null) {
      signal = name as "SIGINT" | "SIGTERM";
      at = performance.now();
      request();
      onRequest();
    } else if (performance.now() - at > SAME_PRESS_MS) on.exit(exitCode());
  };
  on.on("SIGINT", listener);
  on.on("SIGTERM", listener);
  return {
    get signal() {
      return signal;
    },
    get exitCode() {
      return exitCode();
    },
    async unlessStopped(work) {
      if (signal !== null) return null;
      const working = work();
      // The caller no longer waits for the work, so its failure is ignored.
      working.catch(() => undefined);
      return Promise.race([working, requested]);
    },
    dispose() {
      on.off("SIGINT", listener);
      on.off("SIGTERM", listener);
    },
  };
}
