/** Ctrl-C: the first asks for a clean stop, a second ends the process at once. */

/** Ctrl-C under `npm run` can arrive twice within milliseconds; that is one press of the key. */
const SAME_PRESS_MS = 1000;

/** A watch over SIGINT and SIGTERM. */
export interface Interruption {
  /** The signal that asked to stop, or null. */
  readonly signal: "SIGINT" | "SIGTERM" | null;
  /** 130 for SIGINT and 143 for SIGTERM, as shells have it. */
  readonly exitCode: number;
  /** The result of some work, or null as soon as a stop is asked for; the work then goes on unheard. */
  unlessStopped<T>(work: () => Promise<T>): Promise<T | null>;
  /** Gives the signals back to their default. */
  dispose(): void;
}

/** What sends signals and can be ended: the process, but for tests. */
export type Interruptible = Pick<NodeJS.Process, "on" | "off" | "exit">;

/** Watches for a request to stop; `onRequest` runs at the first. */
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
      // Whoever does not wait for the work is not told of its failure.
      working.catch(() => undefined);
      return Promise.race([working, requested]);
    },
    dispose() {
      on.off("SIGINT", listener);
      on.off("SIGTERM", listener);
    },
  };
}
