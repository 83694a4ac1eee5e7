/** WebGPU's error scopes, opened and closed in pairs, even if the calls between throw. */

/** The result of a call, and the first error that its error scopes caught. */
export interface Captured<T> {
  readonly value: T;
  readonly error: Promise<GPUError | null>;
}

/** Runs synchronous calls in error scopes of their own. The scopes are closed also if `body` throws. */
export function captureErrors<T>(
  gpu: GPUDevice,
  filters: readonly GPUErrorFilter[],
  body: () => T,
): Captured<T> {
  for (const filter of filters) gpu.pushErrorScope(filter);
  let failed = true;
  const closing: Promise<GPUError | null>[] = [];
  try {
    const value = body();
    failed = false;
    return {
      value,
      get error() {
        return Promise.all(closing).then((errors) => errors.find((e) => e !== null) ?? null);
      },
    };
  } finally {
    for (const _ of filters) closing.push(gpu.popErrorScope());
    // The exception says more than the errors that the scopes caught before it.
    if (failed) for (const scope of closing) scope.catch(() => undefined);
  }
}
