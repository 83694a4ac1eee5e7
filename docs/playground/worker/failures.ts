/** Errors as failures that the page can give advice for. */
import { EngineError, LimitError, UsageError } from "../../../engine/index.js";
import { FileFormatError } from "../../../hrm/files/file_format_error.js";
import { ConfigError } from "../../../hrm/model/config.js";
import type { Failure } from "../protocol.js";

/** A failure with the advice that fits it. */
export class RunFailure extends Error {
  constructor(
    readonly failureCode: Failure["code"],
    message: string,
  ) {
    super(message);
  }
}

/** What the page is told of an error. */
export function describe(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof RunFailure) return { code: error.failureCode, message };
  if (error instanceof ConfigError || error instanceof UsageError || error instanceof LimitError)
    return { code: "config", message };
  if (error instanceof FileFormatError) return { code: "file", message };
  if (error instanceof EngineError && (error.code === "adapter" || error.code === "device-lost"))
    return { code: error.code, message };
  return { code: "other", message };
}
