/** Amounts of work, memory and time, in words. */
import { formatDuration } from "../../../hrm/format_duration.js";
import { PRESET_TEXTS } from "../run_config.js";
import type { Estimate } from "../reports.js";

const scaled = (value: number, units: readonly string[]): string => {
  let at = 0;
  let left = value;
  while (left >= 1000 && at < units.length - 1) {
    left /= 1000;
    at++;
  }
  return `${left < 10 ? left.toFixed(1) : left.toFixed(0)} ${units[at]!}`;
};

/** `1.2 billion operations`. */
export const flopsText = (flops: number): string =>
  scaled(flops, [
    "operations",
    "thousand operations",
    "million operations",
    "billion operations",
    "trillion operations",
  ]);

export const bytesText = (bytes: number): string => scaled(bytes, ["bytes", "KB", "MB", "GB"]);

export const secondsText = (seconds: number): string => `about ${formatDuration(seconds)}`;

/**
 * How long all steps of a run take: from the speed of the run under way if that was measured, as if both did as much work in
 * a second; else on software adapters from the known duration of the preset. Null if neither is known.
 */
export function secondsOfRun(
  { run, flops, runFlops, presetWork }: Pick<Estimate, "run" | "flops" | "runFlops" | "presetWork">,
  { stepsPerSecond, software }: { readonly stepsPerSecond: number; readonly software: boolean },
): number | null {
  if (runFlops !== null && stepsPerSecond > 0) return (run.steps * flops) / (runFlops * stepsPerSecond);
  if (!software) return null;
  const { minutes } = PRESET_TEXTS[run.preset as keyof typeof PRESET_TEXTS];
  return (60 * minutes * run.steps * flops) / presetWork;
}
