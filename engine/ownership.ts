/** Ownership of what lives on the GPU: whoever makes several things frees those made so far if a later step fails. */

/** Something that is freed by hand. `destroy` may be called again. */
export interface Owned {
  destroy(): void;
}

/** Things that are freed together. */
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

  /** Leaves everything to another scope, or to nobody. */
  leaveTo(other: Scope | null): void {
    for (const thing of this.#owned.splice(0)) other?.own(thing);
  }
}

/** The scope of the innermost body of {@link owning} that is running right now. */
let current: Scope | null = null;

/** Tells the scope around, if there is one, of something new. */
export function announce(thing: Owned): void {
  current?.own(thing);
}

/**
 * Runs a body that makes things on the GPU, and frees them if it throws or rejects. Variables that are made before its
 * first `await` are known to the scope; what is made later must be given to `scope.own`, and so must programs and
 * whatever else has a `destroy`. After success the scope is empty: the things are those of the caller, and of the body
 * of `owning` around it, if both are synchronous.
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
