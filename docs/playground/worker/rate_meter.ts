/** Milliseconds over which steps per second are counted. */
const RATE_WINDOW = 5000;

/** Counts steps per second of training, pauses left out. */
export interface RateMeter {
  /** Forgets the time since the last report. */
  resume(step: number): void;
  /** Steps per second up to this step. */
  at(step: number): number;
}

export function rateMeter(): RateMeter {
  let marks: { readonly time: number; readonly step: number }[] = [];
  return {
    resume(step) {
      marks = [{ time: performance.now(), step }];
    },
    at(step) {
      const now = performance.now();
      marks.push({ time: now, step });
      while (marks.length > 2 && now - marks[1]!.time > RATE_WINDOW) marks.shift();
      const first = marks[0]!;
      return (1000 * (step - first.step)) / (now - first.time);
    },
  };
}
