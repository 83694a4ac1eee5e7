import { EngineError } from "../../engine/errors.js";
import { formatValue, formatText } from "../format_value.js";

/** Where in a file something is wrong. */
export interface FileFormatPlace {
  /** Name or address of the file. */
  readonly file?: string;
  /** Line of a text file, counted from 1. */
  readonly line?: number;
  /** Byte offset from the start of the file. */
  readonly offset?: number;
  /** Name of the tensor (or entry) concerned. */
  readonly tensor?: string;
}

/** A file that is not what its format promises: what is wrong and where. Readers throw nothing else. */
export class FileFormatError extends EngineError {
  override readonly name = "FileFormatError";
  readonly offset: number | undefined;
  readonly tensor: string | undefined;
  readonly file: string | undefined;
  readonly line: number | undefined;
  constructor(
    /** The format expected: `safetensors`. */
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
