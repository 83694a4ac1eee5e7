/** The base of every error that this library throws. It lives in the lowest layer, so that all layers can use it. */

/** Characters of a message that are shown at most: whatever was given, no message prints a whole array. */
const LONGEST_MESSAGE = 2000;

/**
 * Base of every error that the library throws. `code` tells kinds of errors apart and is stable across versions:
 * `usage`, `shape`, `dtype`, `config`, `kernel`, `limit`, `adapter`, `out-of-memory`, `validation`, `internal`, `device-lost`,
 * `file`, `state` and others (docs/errors.md lists them).
 */
export class EngineError extends Error {
  override readonly name: string = "EngineError";
  constructor(
    /** The kind of error, for programs; docs/errors.md lists them. */
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(shortened(message), options);
  }
}

/** A message of at most {@link LONGEST_MESSAGE} characters: the middle of a longer one is left out. */
function shortened(message: string): string {
  if (message.length <= LONGEST_MESSAGE) return message;
  const half = LONGEST_MESSAGE / 2;
  const left = message.length - LONGEST_MESSAGE;
  return `${message.slice(0, half)} ... (${left} characters left out) ... ${message.slice(-half)}`;
}
