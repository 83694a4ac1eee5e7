/** Forward residuals of one segment (paper, fig. 3) as bars: how far each update moved z_L and z_H. */

/** Bars in the order of the updates. */
export interface ResidualBars {
  /** @param largest the residual that fills the height, the same for every segment shown */
  draw(residuals: Float32Array, largest: number): void;
}

/** Bars at the end of an element; after every `lCycles` updates of z_L comes one of z_H. */
export function createResidualBars(container: HTMLElement, lCycles: number): ResidualBars {
  const root = document.createElement("div");
  root.className = "residuals";
  root.setAttribute("role", "img");
  container.append(root);
  const level = (update: number): "L" | "H" => ((update + 1) % (lCycles + 1) === 0 ? "H" : "L");
  return {
    draw(residuals, largest) {
      while (root.children.length > residuals.length) root.lastElementChild!.remove();
      residuals.forEach((value, i) => {
        const bar = (root.children[i] ?? root.appendChild(document.createElement("span"))) as HTMLElement;
        bar.className = level(i);
        bar.title = `z_${level(i)} moved by ${value.toFixed(2)}`;
        bar.style.height = `${largest > 0 ? (100 * value) / largest : 0}%`;
      });
      const words = Array.from(residuals, (value, i) => `z_${level(i)} ${value.toFixed(2)}`);
      root.setAttribute("aria-label", `Forward residuals: ${words.join(", ")}`);
    },
  };
}
