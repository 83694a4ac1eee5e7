/** Why it works: the figures of the paper, drawn from the model that is on the board. */
import { useEffect, useRef } from "preact/hooks";
import { wantFigures } from "../state/client.js";
import { figuresWanted, phase } from "../state/page_state.js";
import { Convergence } from "./convergence.js";
import { Halting } from "./halting.js";
import { StatePaths, TimesAndDimensions } from "./state_space/state_space.js";

export function WhyItWorks() {
  const place = useRef<HTMLElement>(null);
  useEffect(() => {
    const near = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting) && !figuresWanted.value) wantFigures();
      },
      { rootMargin: "200px" },
    );
    near.observe(place.current!);
    return () => near.disconnect();
  }, []);
  return (
    <section class="panel" id="why" aria-labelledby="why-title" ref={place}>
      <h2 id="why-title">Why it works</h2>
      <p class="soft">
        Your device draws all figures from the model on the board.{" "}
        <button type="button" id="refresh" onClick={wantFigures}>
          {phase.value === "training" ? "Draw them anew for the weights of now" : "Draw them anew"}
        </button>
      </p>
      <div class="pair">
        <Convergence />
        <Halting />
        <StatePaths />
        <TimesAndDimensions />
      </div>
    </section>
  );
}
