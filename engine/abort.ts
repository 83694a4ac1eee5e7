/** Work that its caller may give up through an `AbortSignal`. */

/** What long work takes: whoever fires the signal ends it. */
export interface Abortable {
  /** Ends the work when it fires: the promise rejects with the signal's reason, and what was made is freed. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The result of `work`, unless the signal fires first: then a promise that rejects with the signal's reason at once. The
 * work itself goes on, so whoever owns what it makes has to free that.
 */
export async function unlessAborted<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return work;
  // Nobody hears of it if the work fails after the signal has fired.
  work.catch(() => undefined);
  signal.throwIfAborted();
  let abort = (): void => undefined;
  const fired = new Promise<never>((_, reject) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the reason is the caller's
    abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([work, fired]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
