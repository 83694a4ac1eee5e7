/** A report as one HTML file that needs nothing else: no script, no address, every number in it as JSON, too. */
import { boardAsSvg } from "../drawing/board_svg.js";
import { chartAsSvg, escaped, type SvgChart } from "../drawing/chart_svg.js";
import { aligned } from "../drawing/columns.js";
import { residualsOf } from "../drawing/residuals.js";
import type { Task } from "../puzzles/tasks/task.js";
import { formatPercent, formatProportion, meanOf } from "../training/statistics.js";
import type { Example, Figures } from "./figures.js";

/** Points of a curve. */
export interface Curve {
  readonly step: readonly number[];
  readonly value: readonly number[];
}

/** A run in a report. */
export interface ReportRun {
  readonly name: string;
  readonly task: Task;
  /** Every field of its configuration, flat: seed, model and training. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Adapter, and which weights the figures are of, in words. */
  readonly about: string;
  readonly curves: { readonly loss: Curve; readonly exact: Curve; readonly cells: Curve };
  /** The look at the test set; null before it. */
  readonly test: { readonly count: number; readonly exactAccuracy: number } | null;
  readonly figures: Figures;
}

const COLOURS = ["#1f6feb", "#d1242f", "#1a7f37", "#8250df", "#bf8700", "#0a7ea4", "#cf222e", "#57606a"];
const colour = (i: number): string => COLOURS[i % COLOURS.length]!;

/** Boards of decoded steps that are drawn. */
const MOST_STEPS = 48;
/** Puzzles whose paths are drawn. */
const MOST_PATHS = 8;

/** The fields in which runs differ, in the order of the first run. */
export function differences(runs: readonly Pick<ReportRun, "fields">[]): string[] {
  const names = [...new Set(runs.flatMap(({ fields }) => Object.keys(fields)))];
  return names.filter((name) => new Set(runs.map(({ fields }) => JSON.stringify(fields[name]))).size > 1);
}

/** The page. */
export function reportPage(runs: readonly ReportRun[], title: string): string {
  const body = [overview(runs), curvesOf(runs), accuracyOf(runs), ...runs.map((run) => runSection(run))].join(
    "\n",
  );
  // "<" would end the script early.
  const data = JSON.stringify(reportData(runs)).replaceAll("<", "\\u003c");
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escaped(title)}</title>
<style>
body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1f2328;background:#fff}
table{border-collapse:collapse}td,th{border:1px solid #d0d7de;padding:.2rem .6rem;text-align:left}
figure{margin:1rem 0}figcaption{color:#57606a}.boards{display:flex;flex-wrap:wrap;gap:.6rem}.boards div{text-align:center;font-size:12px}
svg{max-width:100%}
</style>
<h1>${escaped(title)}</h1>
${body}
<script type="application/json" id="data">${data}</script>
</html>
`;
}

/** The numbers of a report as the page holds them; numbers that are not finite are null. */
export function reportData(runs: readonly ReportRun[]): unknown {
  const list = (values: ArrayLike<number>): (number | null)[] =>
    Array.from(values, (v) => (Number.isFinite(v) ? v : null));
  return runs.map(({ name, fields, about, curves, test, figures }) => ({
    ...{ name, fields, about, curves, test, accuracy: figures.accuracy, halting: figures.halting },
    examples: figures.examples.map(({ inputs, labels, thought }) => ({
      ...{ inputs: [...inputs], labels: [...labels], levels: thought.levels, segments: thought.segments },
      ...{ tokens: [...thought.tokens], qHalt: list(thought.qHalt), residuals: list(thought.residuals) },
    })),
    states: {
      ...{ puzzles: figures.states.puzzles, updates: figures.states.updates },
      ...Object.fromEntries(
        (["trained", "untrained"] as const).map((which) => [
          which,
          Object.fromEntries(
            (["L", "H"] as const).map((level) => {
              const { participation, share, times, points } = figures.states[which][level];
              return [level, { participation, share, times: list(times), points: list(points) }];
            }),
          ),
        ]),
      ),
    },
  }));
}

const figure = (drawing: string, caption: string): string =>
  `<figure>${drawing}<figcaption>${escaped(caption)}</figcaption></figure>`;

/** A chart inside the page, which needs no namespace. */
const chart = (of: SvgChart): string => chartAsSvg(of).replace(/ xmlns="[^"]*"/, "");

const table = (rows: readonly (readonly string[])[]): string =>
  `<table>${rows.map((row, i) => `<tr>${row.map((cell) => (i === 0 ? `<th>${escaped(cell)}</th>` : `<td>${escaped(cell)}</td>`)).join("")}</tr>`).join("")}</table>`;

function overview(runs: readonly ReportRun[]): string {
  const different = runs.length > 1 ? differences(runs) : [];
  const shown = (value: unknown): string =>
    value === undefined ? "-" : typeof value === "string" ? value : JSON.stringify(value);
  const rows = runs.map(({ name, fields, test, curves }) => [
    name,
    ...different.map((field) => shown(fields[field])),
    curves.exact.value.length === 0 ? "-" : formatPercent(Math.max(...curves.exact.value)),
    test === null
      ? "-"
      : `${formatProportion(Math.round(test.exactAccuracy * test.count), test.count)} of ${test.count}`,
  ]);
  const note =
    runs.length > 1
      ? `<p>The columns between name and scores are the fields in which the runs differ${different.length === 0 ? ": none" : ""}.</p>`
      : "";
  const means = seedMeans(runs);
  return `<h2>Runs</h2>${table([["run", ...different, "best look, exact", "test exact [95%]"], ...rows])}${note}${means}`;
}

/** Mean and spread of runs that differ in their seeds alone, of those that were tested. */
function seedMeans(runs: readonly ReportRun[]): string {
  const groups = new Map<string, ReportRun[]>();
  for (const run of runs) {
    const { seed: _seed, adapter: _adapter, ...plan } = run.fields;
    const key = JSON.stringify(plan);
    groups.set(key, [...(groups.get(key) ?? []), run]);
  }
  const percent = (share: number): string => (100 * Math.min(1, Math.max(0, share))).toFixed(1);
  const rows = [...groups.values()].flatMap((group) => {
    const tested = group.flatMap(({ name, fields, test }) =>
      test ? [{ name, seed: fields["seed"], test }] : [],
    );
    if (new Set(tested.map(({ seed }) => seed)).size < 2) return [];
    const { mean, deviation, interval } = meanOf(tested.map(({ test }) => test.exactAccuracy));
    return [
      [
        ...[tested.map(({ name }) => name).join(", "), formatPercent(mean), percent(deviation!)],
        `[${percent(interval!.low)}, ${percent(interval!.high)}]`,
      ],
    ];
  });
  if (rows.length === 0) return "";
  return `<p>Runs that differ in their seeds alone:</p>${table([["runs", "test exact %, mean", "standard deviation", "95% interval of the mean"], ...rows])}`;
}

function curvesOf(runs: readonly ReportRun[]): string {
  const drawn = (title: string, pick: (run: ReportRun) => Curve, format: (v: number) => string): string =>
    chart({
      ...{ title, xLabel: "step", format },
      data: aligned(runs.map((run) => [pick(run).step, pick(run).value] as const)),
      series: runs.map(({ name }, i) => ({ label: name, color: colour(i) })),
    });
  return [
    "<h2>Curves</h2>",
    figure(
      drawn("Validation puzzles solved", ({ curves }) => curves.exact, formatPercent),
      "Share of validation puzzles with every cell right.",
    ),
    figure(
      drawn("Validation cells right", ({ curves }) => curves.cells, formatPercent),
      "Mean share of right cells, givens included.",
    ),
    figure(
      drawn(
        "Training loss",
        ({ curves }) => curves.loss,
        (v) => v.toPrecision(3),
      ),
      "Loss per puzzle, lm + 0.5 q.",
    ),
  ].join("\n");
}

/** Accuracy against segments (paper, fig. 5). */
function accuracyOf(runs: readonly ReportRun[]): string {
  const curves = runs.map(({ figures: { accuracy } }) => {
    const shares = accuracy.right.map((right) => right / accuracy.puzzles);
    return [shares.map((_, s) => s + 1), shares] as const;
  });
  const drawing = chart({
    title: "Accuracy against segments (paper, fig. 5)",
    ...{ xLabel: "segments", format: formatPercent, data: aligned(curves) },
    series: runs.map(({ name }, i) => ({ label: name, color: colour(i) })),
  });
  const rows = runs.map(({ name, figures: { accuracy, halting } }) => [
    name,
    String(accuracy.trained),
    formatProportion(accuracy.right[accuracy.trained - 1]!, accuracy.puzzles),
    formatProportion(halting.exact, accuracy.puzzles),
    halting.meanSegments.toFixed(2),
  ]);
  const { puzzles } = runs[0]!.figures.accuracy;
  return [
    "<h2>What more segments bring</h2>",
    figure(
      drawing,
      `Exact share of ${puzzles} held-out puzzles after each segment, also beyond those of training.`,
    ),
    table([
      [
        "run",
        "segments in training",
        "exact after them",
        "exact when stopping at q_halt > 0",
        "mean segments then",
      ],
      ...rows,
    ]),
  ].join("\n");
}

function runSection({ name, about, task, figures }: ReportRun): string {
  const first = figures.examples[0];
  return [
    `<h2>${escaped(name)}</h2><p>${escaped(about)}</p>`,
    "<h3>Solved examples, segment by segment</h3>",
    ...figures.examples.map((example, i) =>
      figure(
        bySegment(task, example),
        `Held-out puzzle ${i + 1}: the puzzle, and the answer after each segment. Changed cells are grey, broken rules red.`,
      ),
    ),
    ...(first
      ? ["<h3>Decoded steps (paper, fig. 7)</h3>", figure(byUpdate(task, first), stepsCaption(first))]
      : []),
    ...(first
      ? [
          "<h3>Forward residuals (paper, fig. 3)</h3>",
          figure(residuals(first), "How far each update moves its state, for puzzle 1."),
        ]
      : []),
    "<h3>Where the states move (paper, fig. 3)</h3>",
    ...(["L", "H"] as const).map((level) => figure(paths(figures, level), pathsCaption(figures, level))),
    "<h3>Dimensions that the states fill (paper, fig. 8)</h3>",
    participation(figures),
    "<h3>How long units remember</h3>",
    figure(
      timescales(figures),
      "Autocorrelation time of each unit in updates, ascending; the untrained twin has the first weights of the run.",
    ),
  ].join("\n");
}

const boards = (items: readonly (readonly [caption: string, drawing: string])[]): string =>
  `<div class="boards">${items.map(([caption, drawing]) => `<div>${drawing}<br>${escaped(caption)}</div>`).join("")}</div>`;

const tokensAt = ({ thought: { tokens, length } }: Example, update: number): Int32Array =>
  tokens.subarray(update * length, (update + 1) * length);

function bySegment(task: Task, example: Example): string {
  const { inputs, thought } = example;
  const last = (segment: number): number => (segment + 1) * thought.levels.length - 1;
  const segments = Array.from({ length: thought.segments }, (_, segment): [string, string] => {
    const tokens = tokensAt(example, last(segment));
    const before = segment === 0 ? inputs : tokensAt(example, last(segment - 1));
    const label = `after segment ${segment + 1}`;
    return [
      `${segment + 1}: q ${thought.qHalt[last(segment)]!.toFixed(1)}`,
      boardAsSvg({ task, inputs, tokens, before, label }),
    ];
  });
  return boards([["puzzle", boardAsSvg({ task, inputs, tokens: inputs, label: "puzzle" })], ...segments]);
}

function byUpdate(task: Task, example: Example): string {
  const { inputs, thought } = example;
  const updates = Math.min(MOST_STEPS, thought.segments * thought.levels.length);
  return boards(
    Array.from({ length: updates }, (_, update): [string, string] => {
      const level = thought.levels[update % thought.levels.length]!;
      const before = update === 0 ? inputs : tokensAt(example, update - 1);
      const label = `after update ${update + 1}, of ${level}`;
      return [
        `${update + 1} ${level}`,
        boardAsSvg({ task, inputs, tokens: tokensAt(example, update), before, label }),
      ];
    }),
  );
}

function stepsCaption({ thought }: Example): string {
  const updates = thought.segments * thought.levels.length;
  const cut = updates > MOST_STEPS ? ` The first ${MOST_STEPS} of ${updates} updates are shown.` : "";
  return `Puzzle 1 decoded after every update; after an update of L, as an update of H would read it.${cut}`;
}

function residuals({ thought }: Example): string {
  const columns = (["L", "H"] as const).map((level) => residualsOf(thought, level));
  const xs = columns[0]!.map((_, i) => i + 1);
  return chart({
    title: "Forward residuals",
    ...{ xLabel: "update", logarithmic: true, data: [xs, ...columns], format: (v) => v.toPrecision(2) },
    series: [
      { label: "L", color: colour(0) },
      { label: "H", color: colour(1) },
    ],
  });
}

/** Coordinates of a puzzle's path along the first two components. */
function path(
  { points }: Figures["states"]["trained"]["L"],
  puzzles: number,
  puzzle: number,
): { x: number[]; y: number[] } {
  const dimensions = 3;
  const updates = points.length / (puzzles * dimensions);
  const at = (update: number, d: number): number => points[(update * puzzles + puzzle) * dimensions + d]!;
  const numbers = Array.from({ length: updates }, (_, u) => u);
  return { x: numbers.map((u) => at(u, 0)), y: numbers.map((u) => at(u, 1)) };
}

function paths({ states }: Figures, level: "L" | "H"): string {
  const count = Math.min(MOST_PATHS, states.puzzles);
  const all = Array.from({ length: count }, (_, puzzle) =>
    path(states.trained[level], states.puzzles, puzzle),
  );
  const xs = all.flatMap(({ x }) => x);
  const columns = all.map(({ y }, i) => all.flatMap((other, j) => (i === j ? y : other.x.map(() => null))));
  return chart({
    title: `z_${level}, first two principal components`,
    ...{ xLabel: "first component", data: [xs, ...columns], format: (v) => v.toPrecision(2) },
    series: all.map((_, i) => ({ label: `puzzle ${i + 1}`, color: colour(i), width: 1 })),
  });
}

const pathsCaption = ({ states }: Figures, level: "L" | "H"): string =>
  `Means over cells of z_${level} after each of ${states.updates} updates. The first three components have ${formatPercent(states.trained[level].share)} of the variance of ${states.puzzles} puzzles.`;

function participation({ states: { trained, untrained } }: Figures): string {
  const row = (name: string, of: Figures["states"]["trained"]): string[] => [
    name,
    of.L.participation.toFixed(2),
    of.H.participation.toFixed(2),
    (of.H.participation / of.L.participation).toFixed(2),
  ];
  return `${table([["participation ratio", "z_L", "z_H", "H / L"], row("trained", trained), row("untrained twin", untrained), ["paper, trained (ARC)", "30.2", "90.0", "2.98"]])}<p>(sum of the variances)² / sum of their squares, over all updates and puzzles.</p>`;
}

function timescales({ states: { trained, untrained } }: Figures): string {
  const curves = [
    [trained.L, "L", 0, undefined],
    [trained.H, "H", 1, undefined],
    [untrained.L, "L, untrained", 0, [4, 3]],
    [untrained.H, "H, untrained", 1, [4, 3]],
  ] as const;
  return chart({
    title: "Autocorrelation times",
    ...{ xLabel: "unit", format: (v) => v.toPrecision(2) },
    data: aligned(curves.map(([{ times }]) => [Array.from(times, (_, i) => i + 1), [...times]] as const)),
    series: curves.map(([, label, i, dash]) => ({ label, color: colour(i), ...(dash && { dash }) })),
  });
}
