/** A chart as SVG, for papers, slides and reports. */

/** What an SVG chart draws. */
export interface SvgChart {
  readonly title: string;
  readonly xLabel: string;
  /** Horizontal values, then those of each series; null for none. */
  readonly data: readonly (readonly (number | null | undefined)[])[];
  readonly series: readonly {
    readonly label: string;
    /** A colour as CSS has it. */
    readonly color: string;
    readonly dash?: readonly number[];
    readonly width?: number;
  }[];
  readonly logarithmic?: boolean;
  readonly format: (value: number) => string;
}

const WIDTH = 720;
const HEIGHT = 400;
const PLOT = { left: 70, top: 40, right: 20, bottom: 50 };

/** Text inside of SVG or HTML. */
export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

/** About `count` round numbers between two ends. */
export function roundTicks(low: number, high: number, count = 5): number[] {
  const raw = (high - low) / count;
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw)!;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

/** The ends of finite values; 0 and 1 if there are none. */
function ends(values: readonly (number | null | undefined)[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values)
    if (typeof value === "number" && Number.isFinite(value))
      [low, high] = [Math.min(low, value), Math.max(high, value)];
  return low > high ? [0, 1] : [low, high];
}

/** Draws the chart. */
export function chartAsSvg({ title, xLabel, data, series, logarithmic, format }: SvgChart): string {
  const [xs = [], ...columns] = data;
  const [x0, x1] = ends(xs);
  const [low, high] = ends(columns.flat());
  const scale = (value: number): number => (logarithmic ? Math.log10(value) : value);
  const y0 = logarithmic ? scale(low) : Math.min(0, low);
  const y1 = Math.max(scale(high), y0 + 1e-9);
  const inner = { width: WIDTH - PLOT.left - PLOT.right, height: HEIGHT - PLOT.top - PLOT.bottom };
  const px = (x: number): number => PLOT.left + (inner.width * (x - x0)) / (x1 - x0 || 1);
  const py = (y: number): number => PLOT.top + inner.height * (1 - (scale(y) - y0) / (y1 - y0));
  const at = (n: number): string => n.toFixed(2);
  const parts: string[] = [];
  for (const tick of roundTicks(x0, x1))
    parts.push(
      `<line x1="${at(px(tick))}" x2="${at(px(tick))}" y1="${PLOT.top}" y2="${HEIGHT - PLOT.bottom}" stroke="#ddd"/>`,
      `<text x="${at(px(tick))}" y="${HEIGHT - PLOT.bottom + 18}" text-anchor="middle">${tick.toLocaleString("en")}</text>`,
    );
  for (const tick of roundTicks(y0, y1)) {
    const value = logarithmic ? 10 ** tick : tick;
    parts.push(
      `<line x1="${PLOT.left}" x2="${WIDTH - PLOT.right}" y1="${at(py(value))}" y2="${at(py(value))}" stroke="#ddd"/>`,
      `<text x="${PLOT.left - 8}" y="${at(py(value) + 4)}" text-anchor="end">${escaped(format(value))}</text>`,
    );
  }
  series.forEach(({ label, color, dash, width = 1.75 }, i) => {
    const points = (columns[i] ?? []).flatMap((y, row) => {
      const x = xs[row];
      return typeof y === "number" && Number.isFinite(y) && typeof x === "number"
        ? [`${at(px(x))},${at(py(y))}`]
        : [];
    });
    parts.push(
      `<polyline fill="none" stroke="${escaped(color)}" stroke-width="${width}"${dash ? ` stroke-dasharray="${dash.join(" ")}"` : ""} points="${points.join(" ")}"><title>${escaped(label)}</title></polyline>`,
      `<text x="${PLOT.left + 10}" y="${PLOT.top + 16 + 16 * i}" fill="${escaped(color)}">${escaped(label)}</text>`,
    );
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${PLOT.left}" y="24" font-size="15">${escaped(title)}</text>
${parts.join("\n")}
<text x="${WIDTH - PLOT.right}" y="${HEIGHT - 12}" text-anchor="end">${escaped(xLabel)}</text>
</svg>
`;
}
