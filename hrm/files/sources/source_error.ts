import { EngineError } from "../../../engine/errors.js";

/** A source could not be read. */
export class SourceError extends EngineError {
  override readonly name = "SourceError";
  constructor(message: string, options?: ErrorOptions) {
    super("file", message, options);
  }
}
