/** Checkpoints that the visitor opens: shown beside the run, and gone on with if they hold a run. */
import type { Command, Report } from "../protocol.js";
import { asking } from "./page_state.js";

type Open = Extract<Command, { type: "open" }>;

let send: (command: Open, transfer: Transferable[]) => void = () => undefined;
/** Files that the worker has not answered yet, the oldest first. */
let waiting: File[] = [];
/** The file whose model is shown, and the one that the visitor is asked about. */
let shown: File | null = null;
let unclear: File | null = null;

/** Gives files a way to the worker, which knows none of those before. */
export function connectFiles(to: typeof send): void {
  send = to;
  waiting = [];
  shown = null;
  unclear = null;
  asking.value = null;
}

/** Opens a visitor's file. @param preset what weights alone are for */
export async function openFile(file: File, preset?: string): Promise<void> {
  const buffer = await file.arrayBuffer();
  waiting.push(file);
  asking.value = null;
  const bytes = new Uint8Array(buffer);
  send({ type: "open", name: file.name, bytes, own: true, ...(preset !== undefined && { preset }) }, [
    buffer,
  ]);
}

/** Opens the file that the visitor was asked about. */
export async function openAs(preset: string): Promise<void> {
  if (unclear) await openFile(unclear, preset);
}

/** The worker opened a file, or asks what one is for, or refused one. */
export function fileAnswered(how: "shown" | "refused" | Extract<Report, { type: "which" }>): void {
  const file = waiting.shift() ?? null;
  if (how === "shown") shown = file;
  if (typeof how === "string") return;
  unclear = file;
  asking.value = { name: how.name, presets: how.presets };
}

/** The bytes of the file whose model is shown; null if there is none. */
export const bytesOfShown = async (): Promise<Uint8Array<ArrayBuffer> | null> =>
  shown && new Uint8Array(await shown.arrayBuffer());

/** The message that the page shows after it has opened a file. */
export const noteOf = (name: string, notes: readonly string[]): string =>
  `${name} is open.${notes.length > 0 ? ` To know: ${notes.join("; ")}.` : ""}`;
