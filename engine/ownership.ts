/** Ownership of GPU objects: code that makes several of them frees the ones made so far if a later step fails. */

/** An object that is freed by hand. `destroy` may be called twice. */
export interface Owned {
  destroy(): void;
}

/** Objects that are freed together. */
export class Scope {
  readonly #owned: Owned[] = [];

  /** Frees `thing` with this scope. */
  own<T extends Owned>(thing: T): T {
    this.#owned.push(thing);
    return thing;
  }

  /** Frees everything, the newest first. */
  destroy(): void {
    for (const thing of this.#owned.splice(0).reverse()) thing.destroy();
  }

  /** Hands everything to another scope; null keeps the objects alive without a scope. */
  leaveTo(other: Scope | null): void {
    for (const thing of this.#owned.splice(0)) other?.own(thing);
  }
}

/** The scope of the innermost body of {@link owning} that is running right now. */
let current: Scope | null = null;

/** Adds a new object to the innermost scope, if there is one. */
export function announce(thing: Owned): void {
  current?.own(thing);
}

/**
 * Runs a body that makes GPU objects, and frees them if the body throws or rejects. The scope knows the variables that are
 * made before the body's first `await`. Give everything else to `scope.own`: later variables, programs, and any other
 * object with a `destroy`. After success the scope is empty: the objects belong to the caller, and to an enclosing
 * `owning` if both bodies are synchronous.
 */
export function owning<T>(body: (scope: Scope) => T): T {
  const [scope, outer] = [new Scope(), current];
  const fail = (error: unknown): never => {
    scope.destroy();
    throw error;
  };
  let result: T;
  current = scope;
  try {
    result = body(scope);
  } catch (error) {
    return fail(error);
  } finally {
    current = outer;
  }
  if (!(result instanceof Promise)) {
    scope.leaveTo(outer);
    return result;
  }
  return result.then((value: unknown) => {
    scope.leaveTo(null);
    return value;
  }, fail) as T;
}
