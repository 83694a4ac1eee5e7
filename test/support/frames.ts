/** What a trace of Chromium says of the main thread: how much it works for each frame. */

/** An event of a trace, as far as it is read here. Times are microseconds. */
export interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly tdur?: number;
}

/** What to trace. */
export const CATEGORIES = ["toplevel", "devtools.timeline"];

/** The events of a trace file. */
export const readTrace = (file: Uint8Array): TraceEvent[] =>
  (JSON.parse(new TextDecoder().decode(file)) as { traceEvents: TraceEvent[] }).traceEvents;

/** The thread that drew most of the frames. */
function mainThread(frames: readonly TraceEvent[]): string {
  const counts = new Map<string, number>();
  for (const { pid, tid } of frames) counts.set(`${pid} ${tid}`, (counts.get(`${pid} ${tid}`) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "";
}

/**
 * Milliseconds of processor time that the main thread spent for each frame that it drew: its tasks since the frame before.
 * Processor time does not count how long other processes kept the thread waiting.
 */
export function frameWork(events: readonly TraceEvent[]): number[] {
  const begun = events.filter(({ name, ph }) => name === "AnimationFrame::Render" && ph === "b");
  const thread = mainThread(begun);
  const ours = (event: TraceEvent): boolean => `${event.pid} ${event.tid}` === thread;
  const frames = begun
    .filter(ours)
    .map(({ ts }) => ts)
    .sort((a, b) => a - b);
  const tasks = events.filter(
    (event) => ours(event) && event.ph === "X" && event.name === "ThreadControllerImpl::RunTask",
  );
  const work = new Array<number>(frames.length).fill(0);
  for (const { ts, tdur = 0 } of tasks) {
    // A task belongs to the first frame that begins after it began, or within it.
    const frame = frames.findIndex((at) => at >= ts);
    if (frame >= 0) work[frame]! += tdur / 1000;
  }
  return work.filter((ms) => ms > 0);
}
