/** The roofline as a picture: arithmetic intensity against rate, both logarithmic. */
import type { Ceilings } from "../../bench/core/ceilings.js";
import type { Result } from "../../bench/core/report.js";
import { number } from "../../bench/core/table.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [760, 380, 56, 40, 16];
/** Operations a byte at the edges of the picture. */
const INTENSITY = { from: 2 ** -6, to: 2 ** 9 } as const;
/** Decades below the highest ceiling. */
const DECADES = 5;

function element(name: string, attributes: Record<string, string | number>, text = ""): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text) made.textContent = text;
  return made;
}

/** The fields of a result that the roofline draws. */
export type Dot = Pick<Result, "kernel" | "shape" | "flops" | "bytes" | "gflops" | "ceilingFraction">;

/** Draws the ceilings and a dot a result; results without operations have no place on it. */
export function drawRoofline(svg: SVGSVGElement, ceilings: Ceilings, results: readonly Dot[]): void {
  const top = ceilings.fmaF32 * 2;
  const x = (intensity: number): number =>
    LEFT +
    ((WIDTH - LEFT - 8) * Math.log(intensity / INTENSITY.from)) / Math.log(INTENSITY.to / INTENSITY.from);
  const y = (gflops: number): number => TOP + ((HEIGHT - TOP - BOTTOM) * Math.log10(top / gflops)) / DECADES;
  const bottom = top / 10 ** DECADES;
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const parts: SVGElement[] = [];
  for (let e = Math.ceil(Math.log10(bottom)); 10 ** e <= top; e++) {
    parts.push(
      element("line", { class: "grid", x1: LEFT, x2: WIDTH - 8, y1: y(10 ** e), y2: y(10 ** e) }),
      element(
        "text",
        { class: "tick", x: LEFT - 6, y: y(10 ** e) + 4, "text-anchor": "end" },
        number(10 ** e),
      ),
    );
  }
  for (let i = INTENSITY.from; i <= INTENSITY.to; i *= 8)
    parts.push(
      element("line", { class: "grid", x1: x(i), x2: x(i), y1: TOP, y2: HEIGHT - BOTTOM }),
      element(
        "text",
        { class: "tick", x: x(i), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" },
        i < 1 ? `1/${1 / i}` : String(i),
      ),
    );
  parts.push(
    element("text", { class: "tick", x: WIDTH - 8, y: HEIGHT - 6, "text-anchor": "end" }, "FLOP per byte"),
    element("text", { class: "tick", x: 4, y: 12 }, "GFLOP/s"),
  );
  const ridge = Math.min(INTENSITY.to, ceilings.fmaF32 / ceilings.copy);
  const first = Math.max(INTENSITY.from, bottom / ceilings.copy);
  const roof = [
    [first, first * ceilings.copy],
    [ridge, ridge * ceilings.copy],
    [INTENSITY.to, ceilings.fmaF32],
  ] as const;
  parts.push(
    element("polyline", { class: "roof", points: roof.map(([i, g]) => `${x(i)},${y(g)}`).join(" ") }),
  );
  for (const r of results) {
    if (r.gflops < bottom || r.bytes === 0) continue;
    const intensity = Math.min(INTENSITY.to, Math.max(INTENSITY.from, r.flops / r.bytes));
    const dot = element("circle", {
      class:
        r.kernel === "matmul" ? "dot matmul" : /attention/.test(r.kernel) ? "dot attention" : "dot other",
      cx: x(intensity),
      cy: y(r.gflops),
      r: 4,
    });
    const share = `${Math.round(100 * r.ceilingFraction)}% of the ceiling`;
    dot.append(element("title", {}, `${r.kernel} ${r.shape}: ${number(r.gflops)} GFLOP/s, ${share}`));
    parts.push(dot);
  }
  svg.replaceChildren(...parts);
}
