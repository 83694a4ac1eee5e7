import { EngineError } from "../../engine/errors.js";

/** Where in a file something is wrong. */
export interface FileFormatPlace {
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
  constructor(
    /** The format expected: `safetensors`. */
    readonly format: string,
    problem: string,
    { offset, tensor }: FileFormatPlace = {},
    options?: ErrorOptions,
  ) {
    const places = [
      ...(tensor === undefined ? [] : [`tensor ${JSON.stringify(tensor)}`]),
      ...(offset === undefined ? [] : [`byte ${offset}`]),
    ];
    super("file-format", `${format}: ${problem}${places.length ? ` (${places.join(", ")})` : ""}`, options);
    this.offset = offset;
    this.tensor = tensor;
  }
}
