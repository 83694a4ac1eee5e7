import { EngineError } from "../../engine/errors.js";
import { formatValue, formatText } from "../format_value.js";

/** The place of an error in a file. */
export interface FileFormatPlace {
  /** Name or address of the file. */
  readonly file?: string;
  /** Line of a text file, counted from 1. */
  readonly line?: number;
  /** Byte offset from the start of the file. */
  readonly offset?: number;
  /** Name of the tensor or entry that is wrong. */
  readonly tensor?: string;
}

/** A file breaks its format. Says what is wrong and where. Readers throw no other error. */
export class FileFormatError extends EngineError {
  override readonly name = "FileFormatError";
  /** The byte at which the problem is, counted from 0, if one is known. */
  readonly offset: number | undefined;
  /** The tensor that has the problem, by name, if it is one. */
  readonly tensor: string | undefined;
  /** The file inside a folder or archive, if the source has several. */
  readonly file: string | undefined;
  /** The line at which the problem is, counted from 1, if the format has lines. */
  readonly line: number | undefined;
  constructor(
    /** The expected format, such as `safetensors`. */
    readonly format: string,
    problem: string,
    { file, line, offset, tensor }: FileFormatPlace = {},
    options?: ErrorOptions,
  ) {
    const places = [
      ...(file === undefined ? [] : [formatText(file, 300)]),
      ...(line === undefined ? [] : [`line ${line}`]),
      ...(tensor === undefined ? [] : [`tensor ${formatValue(tensor)}`]),
      ...(offset === undefined ? [] : [`byte ${offset}`]),
    ];
    super("file", `${format}: ${problem}${places.length ? ` (${places.join(", ")})` : ""}`, options);
    this.offset = offset;
    this.tensor = tensor;
    this.file = file;
    this.line = line;
  }
}
