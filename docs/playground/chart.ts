/** Curves over training steps, drawn as SVG: sharp at every size, coloured by the style sheet. */

/** A curve: its name in the legend, and the class that colours it. */
export interface CurveSpec {
  readonly name: string;
  readonly className: string;
  /** Draws a mark at each point. */
  readonly marks?: boolean;
}

export interface ChartOptions {
  readonly curves: readonly CurveSpec[];
  /** Fixed ends of the vertical axis; the largest value decides where there is no upper one. */
  readonly range: { readonly low: number; readonly high?: number };
  /** A value, as the legend shows it. */
  readonly format: (value: number) => string;
  /** A value at the vertical axis, always a round one. */
  readonly formatTick: (value: number) => string;
  /** Heading that screen readers hear. */
  readonly label: string;
}

/** A chart that grows point by point. */
export interface Chart {
  /** Adds a point to a curve; steps ascend. */
  add(curve: string, step: number, value: number): void;
  /** Forgets all points. */
  clear(): void;
  /** Right end of the horizontal axis: the plan's steps. */
  setExtent(steps: number): void;
  /** A dashed line at a value, with its name; null for none. */
  setGoal(goal: { readonly value: number; readonly name: string } | null): void;
}

interface Point {
  readonly step: number;
  readonly value: number;
}

/** Points that a curve keeps before every other one is dropped. */
const MOST_POINTS = 1024;

const NAMESPACE = "http://www.w3.org/2000/svg";
const MARGIN = { left: 44, right: 14, top: 12, bottom: 24 } as const;

function svg<K extends keyof SVGElementTagNameMap>(
  name: K,
  attributes: Readonly<Record<string, string | number>> = {},
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}

/** Puts a chart into an element, which decides its size. */
export function createChart(
  container: HTMLElement,
  { curves, range, format, formatTick, label }: ChartOptions,
): Chart {
  const points = new Map(curves.map(({ name }) => [name, [] as Point[]]));
  const root = svg("svg", { role: "img", "aria-label": label });
  const [axes, drawing, cursor] = [svg("g"), svg("g"), svg("g", { class: "cursor" })];
  const readout = document.createElement("div");
  readout.className = "readout";
  root.append(axes, drawing, cursor);
  container.append(root, readout);
  let extent = 1;
  let goal: Parameters<Chart["setGoal"]>[0] = null;
  let pointer: number | null = null;
  let scheduled = false;

  const redraw = (): void => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(draw);
  };

  function draw(): void {
    scheduled = false;
    const { width, height } = root.getBoundingClientRect();
    if (width === 0) return;
    const all = [...points.values()].flat();
    const high = range.high ?? niceCeiling(Math.max(range.low, ...all.map((p) => p.value)));
    const x = (step: number): number => MARGIN.left + (step / extent) * (width - MARGIN.left - MARGIN.right);
    const y = (value: number): number =>
      height -
      MARGIN.bottom -
      ((Math.min(value, high) - range.low) / (high - range.low)) * (height - MARGIN.top - MARGIN.bottom);

    axes.replaceChildren();
    for (const value of ticks(range.low, high, 4)) {
      const line = { x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) };
      axes.append(svg("line", { ...line, class: "gridline" }));
      axes.append(text(formatTick(value), MARGIN.left - 8, y(value) + 4, "end"));
    }
    for (const step of ticks(0, extent, width < 420 ? 3 : 5))
      axes.append(
        text(
          step.toLocaleString("en"),
          x(step),
          height - 6,
          step === 0 ? "start" : step === extent ? "end" : "middle",
        ),
      );
    if (goal) {
      const at = y(goal.value);
      axes.append(
        svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at, class: "goal" }),
        text(goal.name, width - MARGIN.right, at + 14, "end"),
      );
    }

    drawing.replaceChildren();
    for (const { name, className, marks } of curves) {
      const curve = points.get(name)!;
      const d = curve.map(
        ({ step, value }, i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`,
      );
      drawing.append(svg("path", { d: d.join(""), class: `curve ${className}` }));
      if (marks)
        for (const { step, value } of curve)
          drawing.append(svg("circle", { cx: x(step), cy: y(value), r: 2.5, class: `mark ${className}` }));
    }
    drawCursor(x, height);
  }

  /** The values nearest to the pointer; without one, the newest. */
  function drawCursor(x: (step: number) => number, height: number): void {
    cursor.replaceChildren();
    const nearest = (curve: readonly Point[]): Point | undefined =>
      pointer === null
        ? curve.at(-1)
        : curve.reduce<Point | undefined>(
            (best, p) =>
              best && Math.abs(x(best.step) - pointer!) <= Math.abs(x(p.step) - pointer!) ? best : p,
            undefined,
          );
    const found = curves.map(({ name, className }) => ({
      name,
      className,
      point: nearest(points.get(name)!),
    }));
    const step = pointer === null ? undefined : found.find((f) => f.point)?.point?.step;
    if (step !== undefined)
      cursor.append(svg("line", { x1: x(step), x2: x(step), y1: MARGIN.top, y2: height - MARGIN.bottom }));
    readout.replaceChildren(
      ...found.map(({ name, className, point }) => {
        const item = document.createElement("span");
        item.className = `legend ${className}`;
        item.textContent = `${name} ${point ? format(point.value) : "–"}`;
        return item;
      }),
    );
    if (step !== undefined) readout.append(`at step ${step.toLocaleString("en")}`);
  }

  root.addEventListener("pointermove", (event) => {
    pointer = event.clientX - root.getBoundingClientRect().left;
    redraw();
  });
  root.addEventListener("pointerleave", () => {
    pointer = null;
    redraw();
  });
  new ResizeObserver(redraw).observe(root);
  draw();
  return {
    add(name, step, value) {
      const curve = points.get(name)!;
      curve.push({ step, value });
      if (curve.length > MOST_POINTS)
        points.set(
          name,
          curve.filter((_, i) => i % 2 === 1),
        );
      redraw();
    },
    clear() {
      for (const name of points.keys()) points.set(name, []);
      redraw();
    },
    setExtent(steps) {
      extent = steps;
      redraw();
    },
    setGoal(next) {
      goal = next;
      redraw();
    },
  };
}

function text(content: string, x: number, y: number, anchor: "start" | "middle" | "end"): SVGTextElement {
  const element = svg("text", { x, y, "text-anchor": anchor });
  element.textContent = content;
  return element;
}

/** The smallest of 1, 2, 3, 5, 8 times a power of ten that is not below a value; 1 for what is not above 0. */
function niceCeiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 5, 8, 10].map((m) => m * power).find((v) => v >= value)!;
}

/** Round values from low to high, about `count` steps apart. */
function ticks(low: number, high: number, count: number): number[] {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999)!;
  const values: number[] = [];
  for (let i = 0; low + i * step <= high * 1.0001; i++) values.push(low + i * step);
  return values;
}
