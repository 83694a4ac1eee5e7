/** Reports as text for people and as CSV for spreadsheets. */
import type { Ceilings } from "./ceilings.js";
import { summaryOf } from "./report.js";
import { ratioOf } from "./statistics.js";
import type { Omission, PeerResult, Report, Result, SplitRow, StepDetails } from "./report.js";

/** Three significant digits, without an exponent if that is readable. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (value === 0) return "0";
  if (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6) return value.toExponential(1);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(digits);
}

const percent = (fraction: number): string => `${(100 * fraction).toFixed(fraction < 0.1 ? 1 : 0)}%`;

interface Column {
  readonly title: string;
  readonly width: number;
  readonly left?: boolean;
  text(row: Result): string;
}

const COLUMNS: readonly Column[] = [
  { title: "kernel", width: 33, left: true, text: (r) => r.kernel },
  { title: "shape", width: 38, left: true, text: (r) => r.shape },
  { title: "variant", width: 9, left: true, text: (r) => r.variant },
  { title: "n", width: 3, text: (r) => String(r.n) },
  { title: "ms", width: 8, text: (r) => `${number(r.ms)}${r.clock === "wall" ? "w" : ""}` },
  { title: "p10", width: 8, text: (r) => number(r.p10) },
  { title: "p90", width: 8, text: (r) => number(r.p90) },
  { title: "wall", width: 8, text: (r) => number(r.wallMs) },
  { title: "cold", width: 7, text: (r) => (r.coldMs === null ? "-" : number(r.coldMs)) },
  { title: "GFLOP/s", width: 8, text: (r) => number(r.gflops) },
  { title: "GB/s", width: 7, text: (r) => number(r.gbps) },
  { title: "ceiling", width: 7, text: (r) => `${percent(r.ceilingFraction)}${r.bound[0]}` },
  { title: "error", width: 8, text: (r) => r.maxError.toExponential(1) },
];

const line = (cells: readonly string[]): string =>
  cells
    .map((cell, i) => {
      const { width, left } = COLUMNS[i]!;
      return left ? cell.padEnd(width) : cell.padStart(width);
    })
    .join(" ")
    .trimEnd();

/** Head of the table. */
export const tableHead = (): string => line(COLUMNS.map((c) => c.title));

/** Explains the columns. */
export const TABLE_NOTE =
  "ms, p10, p90, wall: one run, by timestamps (w: by the wall clock); cold: pipeline creation and first run; " +
  "ceiling: least time by the measured ceilings over ms, bound by a(rithmetic) or m(emory); " +
  "error: largest |actual - float64| / scale.";

/** One row. */
export const tableRow = (result: Result): string => line(COLUMNS.map((c) => c.text(result)));

/** Share of a step below which its kernels are printed as one line. */
const SMALL_SHARE = 0.01;

/** Details of a training step, indented below its row. */
export function stepRows({ dispatches, jsMs, peakBytes, split }: StepDetails): string[] {
  const large = split.filter((row) => row.share >= SMALL_SHARE);
  const small = split.filter((row) => row.share < SMALL_SHARE);
  const sum = (pick: (row: SplitRow) => number): number => small.reduce((total, row) => total + pick(row), 0);
  return [
    `    ${dispatches} dispatches, host ${number(jsMs)} ms a step, peak ${number(peakBytes / 2 ** 20)} MiB` +
      (split.length > 0 ? "; one pass per dispatch:" : "; no timestamps, so no split by kernel"),
    ...large.map(
      (row) =>
        `    ${percent(row.share).padStart(5)}  ${row.kernel.padEnd(34)} ${String(row.dispatches).padStart(4)} x  ` +
        `${number(row.ms).padStart(8)} ms  ${number(row.gflops).padStart(7)} GFLOP/s  ${percent(row.ceilingFraction).padStart(5)} of ceiling`,
    ),
    ...(small.length > 0
      ? [
          `    ${percent(sum((row) => row.share)).padStart(5)}  ${`${small.length} others`.padEnd(34)} ` +
            `${String(sum((row) => row.dispatches)).padStart(4)} x  ${number(sum((row) => row.ms)).padStart(8)} ms`,
        ]
      : []),
  ];
}

/** The ceilings, one a line. */
export function ceilingRows(c: Ceilings): string[] {
  const rows: [string, string][] = [
    ["fused multiply-add f32", `${number(c.fmaF32)} GFLOP/s`],
    [
      "fused multiply-add f16",
      c.fmaF16 === null ? "no shader-f16 on this adapter" : `${number(c.fmaF16)} GFLOP/s`,
    ],
    ...(c.matrices ? [["f16 matrices, f32 sums", `${number(c.matrices)} GFLOP/s`] as [string, string]] : []),
    ["copy", `${number(c.copy)} GB/s (${c.copyBytes / 2 ** 20} MiB each way, read + write)`],
    ["empty dispatch in a pass", `${number(c.dispatch)} us`],
    ["dependent dispatch in a pass", `${number(c.dependentDispatch)} us`],
    ["submit", `${number(c.submit)} us`],
    ["4-byte read-back", `${number(c.readback)} us`],
  ];
  return rows.map(([name, value]) => `  ${name.padEnd(30)}${value}`);
}

/** A line about an omission. */
export const omissionRow = ({ kernel, shape, variant, reason }: Omission): string =>
  `  ${kernel} ${shape}${variant === "default" ? "" : ` (${variant})`}: ${reason}`;

/** One shape with every library. Times are by the wall clock; ratios are theirs over ours. */
export function peerRow(ours: Result, peers: readonly PeerResult[]): string {
  const cells = peers.map((p) => {
    const { ratio, low, high } = ratioOf(summaryOf(p), summaryOf(ours));
    return `${p.peer} ${number(p.ms)} ms = ${number(ratio)}x [${number(low)}, ${number(high)}]`;
  });
  return `${ours.kernel.padEnd(22)} ${ours.shape.padEnd(38)} ours ${number(ours.ms).padStart(7)} ms   ${cells.join("   ")}`;
}

/** Columns of the CSV. */
const CSV_FIELDS = [
  "kernel",
  "variant",
  "shape",
  "name",
  "n",
  "ms",
  "p10",
  "p90",
  "clock",
  "wallMs",
  "coldMs",
  "repeats",
  "gflops",
  "gbps",
  "ceilingFraction",
  "bound",
  "flops",
  "bytes",
  "maxError",
  "tolerance",
  "compared",
] as const satisfies readonly (keyof Result)[];

const quoted = (value: string): string => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

/** Results and peers as CSV with a header line; `peer` is empty for ours. */
export function csv({ results, peers, adapter, environment }: Report): string {
  const own = results.map((r): [string, Result] => ["", r]);
  const theirs = peers.map((r: PeerResult): [string, Result] => [r.peer, r]);
  const rows = [...own, ...theirs].map(([peer, r]) =>
    [adapter.name, environment.commit, peer, ...CSV_FIELDS.map((f) => String(r[f] ?? ""))]
      .map(quoted)
      .join(","),
  );
  return [["adapter", "commit", "peer", ...CSV_FIELDS].join(","), ...rows].join("\n");
}
