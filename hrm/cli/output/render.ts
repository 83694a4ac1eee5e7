/** Progress and colours on a terminal. Every function writes to the stream that it is given (stderr). */
import { printable } from "../../format_value.js";
import { visibleWidth } from "../../puzzles/tasks/text.js";

/** The part of tty.WriteStream that is used here. */
export interface TextStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  /** Width of the terminal. */
  readonly columns?: number;
}

export interface ProgressOptions {
  readonly stream: TextStream;
  /** Seconds between lines if the stream is not a terminal; default 10. */
  readonly everySeconds?: number;
  /** Clock in seconds; default: the monotonic clock. */
  readonly now?: () => number;
}

/** A line that shows the progress of some work. */
export interface ProgressLine {
  /** Shows a state. On a terminal it overwrites the last state; elsewhere it is printed when a new line is due. */
  update(text: string): void;
  /** Prints a permanent line above the progress line. */
  note(text: string): void;
  /** Keeps the last state on screen and ends its line. */
  end(): void;
}

/** Shortest time between two redraws on a terminal, in seconds. */
const REDRAW_SECONDS = 0.1;

/** Makes a progress line. A terminal shows one line that is redrawn; elsewhere (a log, CI) a new line is printed every few seconds. */
export function progressLine({
  stream,
  everySeconds = 10,
  now = () => performance.now() / 1000,
}: ProgressOptions): ProgressLine {
  const terminal = stream.isTTY === true;
  const interval = terminal ? REDRAW_SECONDS : everySeconds;
  let shownAt = -Infinity;
  /** The last state if it has not been shown; else null. */
  let pending: string | undefined;
  /** Columns of the terminal's line that hold text at the moment. */
  let width = 0;
  const erase = (): void => {
    if (width > 0) stream.write(`\r${" ".repeat(width)}\r`);
    width = 0;
  };
  const show = (text: string): void => {
    pending = undefined;
    shownAt = now();
    if (!terminal) {
      stream.write(`${printable(text)}\n`);
      return;
    }
    const line = fit(printable(text), (stream.columns || 80) - 1);
    const columns = visibleWidth(line);
    stream.write(`\r${line}${" ".repeat(Math.max(0, width - columns))}`);
    width = columns;
  };
  let last: string | undefined;
  return {
    update(text) {
      last = text;
      if (now() - shownAt >= interval) show(text);
      else pending = text;
    },
    note(text) {
      const redraw = width > 0 ? last : undefined;
      erase();
      stream.write(`${printable(text)}\n`);
      if (redraw !== undefined) show(redraw);
    },
    end() {
      if (pending !== undefined) show(pending);
      if (width > 0) stream.write("\n");
      width = 0;
      shownAt = -Infinity;
      last = undefined;
    },
  };
}

/** Whether to colour: NO_COLOR (no-color.org) and FORCE_COLOR in `env` decide, else whether it is a terminal. */
export function wantsColor(stream: TextStream, env: Readonly<Record<string, string | undefined>>): boolean {
  if (env["NO_COLOR"]) return false;
  if (env["FORCE_COLOR"]) return env["FORCE_COLOR"] !== "0";
  return stream.isTTY === true && env["TERM"] !== "dumb";
}

/** Cuts plain text to a width, since a line that wraps cannot be redrawn. */
function fit(text: string, width: number): string {
  return visibleWidth(text) <= width ? text : `${[...text].slice(0, Math.max(0, width - 1)).join("")}…`;
}
