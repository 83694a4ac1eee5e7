/** The error of files of `torch.save`. */
import { FileFormatError, type FileFormatPlace } from "../file_format_error.js";

/** An error about a file of `torch.save`. */
export function torchProblem(what: string, place?: FileFormatPlace): FileFormatError {
  return new FileFormatError("torch", what, place);
}
