/** Work that its caller may give up through an `AbortSignal`. */

/** Option of long work: firing the signal ends the work. */
export interface Abortable {
  /** Ends the work when it fires. The promise rejects with the signal's reason, and the objects made so far are freed. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Resolves with the result of `work`. If the signal fires first, it rejects immediately with the signal's reason. The work
 * itself goes on, so that its owner has to free what it makes.
 */
export async function unlessAborted<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return work;
  // If the work fails after the signal has fired, the error is dropped.
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
