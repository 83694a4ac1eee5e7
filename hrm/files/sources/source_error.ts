import { EngineError } from "../../../engine/errors.js";

/** Something that could not be read at all. */
export class SourceError extends EngineError {
  override readonly name = "SourceError";
  constructor(message: string, options?: ErrorOptions) {
    super("file", message, options);
  }
}
