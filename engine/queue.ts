/** Jobs that share state on the device and therefore must not overlap. */

/** Runs jobs one after the other, in the order of the calls; a job that fails does not stop those after it. */
export function createQueue(): <T>(job: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (job) => {
    const result = last.then(job);
    last = result.catch(() => undefined);
    return result;
  };
}
