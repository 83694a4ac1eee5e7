/** What the command line shows while it works. Everything here writes to the stream it is given (stderr). */
import { printable } from "../../format_value.js";
import { visibleWidth } from "../../puzzles/tasks/text.js";

/** The part of a tty.WriteStream that is needed. */
export interface TextStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  /** Width of the terminal. */
  readonly columns?: number;
}

export interface ProgressOptions {
  readonly stream: TextStream;
  /** Seconds between lines where the stream is no terminal; default 10. */
  readonly everySeconds?: number;
  /** Clock in seconds; default the monotonic one. */
  readonly now?: () => number;
}

/** A line that follows the work. */
export interface ProgressLine {
  /** Shows a state: over the last one on a terminal, else as a new line when one is due. */
  update(text: string): void;
  /** Prints a line that stays, above the progress line. */
  note(text: string): void;
  /** Leaves the last state standing and ends its line. */
  end(): void;
}

/** Redraws on a terminal at most this often, in seconds. */
const REDRAW_SECONDS = 0.1;

/** One line on a terminal that is drawn over and over; elsewhere (a log, CI) a line every so many seconds. */
export function progressLine({
  stream,
  everySeconds = 10,
  now = () => performance.now() / 1000,
}: ProgressOptions): ProgressLine {
  const terminal = stream.isTTY === true;
  const interval = terminal ? REDRAW_SECONDS : everySeconds;
  let shownAt = -Infinity;
  /** The last state, where it was not shown. */
  let pending: string | undefined;
  /** Columns of the terminal's line that hold text. */
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

/** Cuts plain text to a width; a longer line would wrap and could not be drawn over. */
function fit(text: string, width: number): string {
  return visibleWidth(text) <= width ? text : `${[...text].slice(0, Math.max(0, width - 1)).join("")}…`;
}
