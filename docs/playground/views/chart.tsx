/** A chart of curves by uPlot, coloured by the style sheet, that grows with its data. */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type uPlot from "uplot";
import { download } from "../state/download.js";
import { chartAsSvg } from "../../../hrm/drawing/chart_svg.js";

/** A curve of a chart. */
export interface Series {
  readonly label: string;
  /** Name of the style sheet's colour: `--exact`. */
  readonly color: string;
  readonly dash?: readonly number[];
  readonly width?: number;
  readonly points?: boolean;
}

export interface ChartProps {
  readonly id: string;
  /** What the chart shows, for people who hear it. */
  readonly label: string;
  /** Horizontal values, then those of each series; null for none. */
  readonly data: readonly (readonly (number | null)[])[];
  readonly series: readonly Series[];
  readonly logarithmic?: boolean;
  /** Ends of the vertical axis; those of the data by default. */
  readonly range?: readonly [number, number];
  readonly format: (value: number) => string;
  readonly xLabel: string;
  readonly height?: number;
  /** Charts of one name share their cursor. */
  readonly sync?: string;
  /** Bands behind the curves: ends on the horizontal axis. */
  readonly bands?: readonly (readonly [number, number])[];
  /** Offers the chart as PNG and SVG. */
  readonly exports?: boolean;
  /** Title of the exported picture; default: the label. */
  readonly title?: string;
  /** Told of the index of the point under the pointer. */
  readonly onHover?: (index: number) => void;
}

/** uPlot, once the first chart has asked for it: visitors who train nothing need not load it. */
const library = signal<typeof uPlot | null>(null);
let asked = false;

function loadLibrary(): void {
  if (asked) return;
  asked = true;
  mendLanguage();
  void import("uplot").then((module) => (library.value = module.default));
}

/**
 * uPlot formats numbers by the browser's language as it loads, and fails if that is no language tag: systems whose locale is
 * `POSIX` report `en-US@posix`.
 */
function mendLanguage(): void {
  try {
    new Intl.NumberFormat(navigator.language);
  } catch {
    Object.defineProperty(navigator, "language", { value: "en" });
  }
}

const color = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function optionsOf(props: ChartProps, width: number): uPlot.Options {
  const { series, logarithmic, range, format, height = 190, sync, bands = [], onHover, xLabel } = props;
  const axis = {
    stroke: color("--soft"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
  };
  return {
    ...{ width, height, legend: { live: true } },
    cursor: { ...(sync !== undefined && { sync: { key: sync } }), points: { size: 6 } },
    scales: {
      x: { time: false },
      y: logarithmic
        ? { distr: 3, log: 10 }
        : range
          ? { range: [range[0], range[1]] }
          : { range: (_, min, max) => [Math.min(0, min), max > 0 ? max * 1.05 : 1] },
    },
    axes: [
      { ...axis, size: 34, values: (_, ticks) => ticks.map((v) => v.toLocaleString("en")) },
      { ...axis, size: 52, values: (_, ticks) => ticks.map((v) => (v === null ? "" : format(v))) },
    ],
    series: [
      { label: xLabel, value: (_, v) => (v === null ? "–" : v.toLocaleString("en")) },
      ...series.map(({ label, color: name, dash, width: line = 1.75, points = false }) => ({
        label,
        stroke: color(name),
        width: line,
        ...(dash && { dash: [...dash] }),
        spanGaps: true,
        points: { show: points, size: 5, fill: color(name) },
        value: (_: uPlot, v: number | null) => (v === null || Number.isNaN(v) ? "–" : format(v)),
      })),
    ],
    hooks: {
      ...(bands.length > 0 && {
        drawClear: [
          (plot: uPlot) => {
            plot.ctx.save();
            plot.ctx.fillStyle = color("--band");
            for (const [from, to] of bands) {
              const [a, b] = [plot.valToPos(from, "x", true), plot.valToPos(to, "x", true)];
              plot.ctx.fillRect(a, plot.bbox.top, b - a, plot.bbox.height);
            }
            plot.ctx.restore();
          },
        ],
      }),
      ...(onHover && {
        setCursor: [
          (plot: uPlot) => {
            if (plot.cursor.idx !== null && plot.cursor.idx !== undefined) onHover(plot.cursor.idx);
          },
        ],
      }),
    },
  };
}

/** The picture as it is on the page, on the page's background. */
function savePng({ id }: ChartProps, plot: uPlot | null): void {
  if (!plot) return;
  const { canvas } = plot.ctx;
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext("2d")!;
  context.fillStyle = color("--panel");
  context.fillRect(0, 0, copy.width, copy.height);
  context.drawImage(canvas, 0, 0);
  copy.toBlob((blob) => blob && download(`${id}.png`, blob, "image/png"));
}

function saveSvg({ id, title, label, data, series, logarithmic, format, xLabel }: ChartProps): void {
  const svg = chartAsSvg({
    title: title ?? label,
    ...{ xLabel, data, format },
    ...(logarithmic && { logarithmic }),
    series: series.map((s) => ({ ...s, color: color(s.color) })),
  });
  download(`${id}.svg`, svg, "image/svg+xml");
}

export function Chart(props: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const key = JSON.stringify([props.series, props.bands, props.logarithmic]);

  const Plot = library.value;
  useEffect(() => {
    if (!Plot) return loadLibrary();
    const element = place.current!;
    const make = (): void => {
      plot.current?.destroy();
      const { width } = element.getBoundingClientRect();
      plot.current = new Plot(
        optionsOf(latest.current, Math.max(200, width)),
        latest.current.data as uPlot.AlignedData,
        element,
      );
    };
    make();
    const resized = new ResizeObserver(() => {
      const { width } = element.getBoundingClientRect();
      plot.current?.setSize({ width: Math.max(200, width), height: latest.current.height ?? 190 });
    });
    resized.observe(element);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", make);
    return () => {
      dark.removeEventListener("change", make);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [key, Plot]);

  useEffect(() => plot.current?.setData(props.data as uPlot.AlignedData), [props.data]);

  return (
    <figure class="chart" id={props.id} aria-label={props.label}>
      <div ref={place} />
      {props.exports && (
        <figcaption class="exports">
          <button type="button" class="link" onClick={() => savePng(props, plot.current)}>
            PNG<span class="unseen"> of {props.title ?? props.id}</span>
          </button>{" "}
          <button type="button" class="link" onClick={() => saveSvg(props)}>
            SVG<span class="unseen"> of {props.title ?? props.id}</span>
          </button>
        </figcaption>
      )}
    </figure>
  );
}
