/** Ctrl-C: the first asks for a clean stop, a second ends the process at once. */

/** Ctrl-C under `npm run` can arrive twice within milliseconds; that is one press of the key. */
const SAME_PRESS_MS = 1000;

/** A watch over SIGINT and SIGTERM. */
export interface Interruption {
  /** The signal that asked to stop, or null. */
  readonly signal: "SIGINT" | "SIGTERM" | null;
  /** 130 for SIGINT and 143 for SIGTERM, as shells have it. */
  readonly exitCode: number;
  /** Gives the signals back to their default. */
  dispose(): void;
}

/** Watches for a request to stop; `onRequest` runs at the first. */
export function watchInterrupt(onRequest: () => void): Interruption {
  let signal: Interruption["signal"] = null;
  let at = 0;
  const exitCode = (): number => (signal === "SIGTERM" ? 143 : 130);
  const listener = (name: NodeJS.Signals): void => {
    if (signal === null) {
      signal = name as "SIGINT" | "SIGTERM";
      at = performance.now();
      onRequest();
    } else if (performance.now() - at > SAME_PRESS_MS) process.exit(exitCode());
  };
  process.on("SIGINT", listener);
  process.on("SIGTERM", listener);
  return {
    get signal() {
      return signal;
    },
    get exitCode() {
      return exitCode();
    },
    dispose() {
      process.off("SIGINT", listener);
      process.off("SIGTERM", listener);
    },
  };
}
