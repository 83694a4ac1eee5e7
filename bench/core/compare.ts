/** Two reports side by side. */
import { summaryOf, type Report, type Result } from "./report.js";
import { ratioOf, type Ratio } from "./statistics.js";
import { number } from "./table.js";

export interface Comparison extends Ratio {
  readonly kernel: string;
  readonly variant: string;
  readonly shape: string;
  readonly before: number;
  readonly after: number;
  /** `same` if the interval holds 1, or if there are too few samples to tell. */
  readonly verdict: "faster" | "slower" | "same";
}

const keyOf = ({ kernel, variant, shape }: Result): string => [kernel, variant, shape].join("\n");

/** Time before over time now (above 1: faster now) for every line that both reports have. */
export function compareReports(before: Report, now: Report): Comparison[] {
  const old = new Map(before.results.map((r) => [keyOf(r), r]));
  return now.results.flatMap((result) => {
    const other = old.get(keyOf(result));
    if (!other) return [];
    const { kernel, variant, shape } = result;
    const ratio = ratioOf(summaryOf(other), summaryOf(result));
    const verdict = ratio.low > 1 ? "faster" : ratio.high < 1 ? "slower" : "same";
    return [{ kernel, variant, shape, before: other.ms, after: result.ms, ...ratio, verdict } as const];
  });
}

/** The comparison as text. Differences that make it unfair come first. */
export function comparisonRows(before: Report, now: Report): string[] {
  const comparisons = compareReports(before, now);
  const differs = (
    [
      ["adapter", before.adapter.name, now.adapter.name],
      ["runtime", before.environment.runtime, now.environment.runtime],
      ["WebGPU", before.environment.webgpu, now.environment.webgpu],
    ] as const
  ).filter(([, a, b]) => a !== b);
  return [
    `compared with the run of ${before.environment.date} (${before.environment.commit || "unknown commit"}); time then / time now, 95% interval`,
    ...differs.map(([what, a, b]) => `  not alike: ${what} then ${a}, now ${b}`),
    ...comparisons.map(
      (c) =>
        `  ${c.kernel.padEnd(30)} ${c.shape.padEnd(38)} ${c.variant.padEnd(9)} ${number(c.before).padStart(8)} -> ${number(c.after).padStart(8)} ms  ` +
        `${number(c.ratio).padStart(6)} [${number(c.low)}, ${number(c.high)}]  ${c.verdict}`,
    ),
    ...(comparisons.length === 0 ? ["  nothing in common"] : []),
  ];
}
