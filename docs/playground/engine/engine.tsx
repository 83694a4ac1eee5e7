/** What runs underneath: the dispatches of a training step, its memory, and how near its kernels come to the device's limits. */
import { useEffect, useRef } from "preact/hooks";
import { drawRoofline } from "../../bench/roofline.js";
import { wantProfile, wantPrograms } from "../state/client.js";
import { phase, profile, profiling, programs } from "../state/page_state.js";
import { count } from "../views/start.js";
import { bytesText } from "../lab/amounts.js";
import type { Profile, ShownProgram } from "../reports.js";
import { byFamily } from "./families.js";
import { SNIPPET } from "./snippet.js";

export function EnginePart() {
  const ready = ["ready", "training", "paused", "finished"].includes(phase.value);
  useEffect(() => {
    if (ready && programs.value === null) wantPrograms();
  }, [ready, programs.value]);
  return (
    <>
      <p>
        A step of training is a list of small programs for the GPU, called kernels. This page writes them, and
        plans their memory, before the first one runs. Below are those of your run.
      </p>
      <Kernels ready={ready} />
      {programs.value ? (
        programs.value.map((program) => <ProgramParts key={program.name} program={program} />)
      ) : (
        <p class="soft">The list comes once the trainer is compiled.</p>
      )}
      <h3>Use the engine in your own page</h3>
      <pre class="snippet" tabIndex={0} aria-label="Program">
        {SNIPPET}
      </pre>
      <p>
        <a href="bench/">Run the benchmark</a>: every kernel and whole training steps, checked and timed on
        this device.
      </p>
    </>
  );
}

function Kernels({ ready }: { ready: boolean }) {
  const busy = !ready || phase.value === "training" || profiling.value;
  const taken = profile.value;
  return (
    <>
      <h3>Time of each kernel</h3>
      <p class="buttons">
        <button type="button" id="measure" aria-disabled={busy} onClick={() => !busy && wantProfile()}>
          {profiling.value ? "Measuring…" : "Measure the kernels of this run"}
        </button>
      </p>
      <p class="soft">
        {phase.value === "training"
          ? "Pause training first, so that both do not share the GPU."
          : "This takes some seconds. A copy of the run is measured, so that the run stays as it is."}
      </p>
      {taken && <Measured taken={taken} />}
    </>
  );
}

function Measured({ taken }: { taken: Profile }) {
  const picture = useRef<SVGSVGElement>(null);
  useEffect(() => {
    const dots = taken.kernels
      .filter(({ ms, flops }) => ms > 0 && flops > 0)
      .map(({ name, family, flops, bytes, ms, share }) => ({
        ...{ kernel: /^matmul/.test(family) ? "matmul" : family, shape: name, flops, bytes },
        ...{ gflops: flops / ms / 1e6, ceilingFraction: share },
      }));
    drawRoofline(picture.current!, taken.ceilings, dots);
  }, [taken]);
  const families = byFamily(taken.kernels);
  return (
    <>
      <p class="soft" id="clock">
        {taken.timestamps
          ? "The GPU's own timestamps were read. Browsers round them to 0.1 ms, so that short kernels ran many times in a row."
          : "This browser offers no timestamps of the GPU. The times are by the clock of the page and count launching, too."}
      </p>
      <svg
        ref={picture}
        class="roofline"
        role="img"
        aria-label="Rate of each kernel against the device's ceilings"
      />
      <p class="soft">
        Each dot is a kernel: the higher, the more operations a second. The line is the most that this device
        can do: at the left its memory is the limit, at the right its arithmetic.
      </p>
      <div class="scroll" tabIndex={0} role="region" aria-label="Kernels by family">
        <table class="numbers" id="families">
          <thead>
            <tr>
              {[
                "Kernel",
                "Launches a step",
                "ms a step",
                "Share of the step",
                "Share of what is possible",
              ].map((title) => (
                <th scope="col" key={title}>
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {families.map(({ family, launches, ms, share, possible }) => (
              <tr key={family}>
                <th scope="row">{family}</th>
                <td>{launches}</td>
                <td>{ms.toFixed(3)}</td>
                <td>{(100 * share).toFixed(1)}%</td>
                <td>{Number.isFinite(possible) ? `${(100 * possible).toFixed(0)}%` : "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function ProgramParts({ program }: { program: ShownProgram }) {
  const { name, times, dispatches, slots } = program;
  const flops = dispatches.reduce((sum, d) => sum + d.flops, 0);
  return (
    <>
      <h3>
        {name}
        {times > 1 ? `, ${times} times a step` : ""}
      </h3>
      <p class="soft">
        {dispatches.length} launches, {(flops / 1e6).toFixed(1)} million operations.{" "}
        {bytesText(slots.reduce((a, b) => a + b, 0))} of intermediate values in {slots.length} shared buffers.
      </p>
      <MemoryPlan program={program} />
      <details class="dispatches">
        <summary>All launches with their shapes</summary>
        <div class="scroll" tabIndex={0} role="region" aria-label={`Launches of the ${name}`}>
          <table class="numbers">
            <thead>
              <tr>
                {["Kernel", "Operation", "Workgroups", "Operations", "Bytes"].map((title) => (
                  <th scope="col" key={title}>
                    {title}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {dispatches.map((d, i) => (
                <tr key={i}>
                  <th scope="row">{d.kernel}</th>
                  <td>{d.operation}</td>
                  <td>{d.workgroups.join(" × ")}</td>
                  <td>{count(d.flops)}</td>
                  <td>{count(d.bytes)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </>
  );
}

const [WIDTH, HEIGHT] = [800, 220];

/** Time runs to the right; each row is a buffer, as high as it is large; a block is a value that lives in it. */
function MemoryPlan({ program: { dispatches, slots, intervals } }: { program: ShownProgram }) {
  const total = slots.reduce((a, b) => a + b, 0);
  if (total === 0) return null;
  const tops = slots.map((_, i) => (HEIGHT * slots.slice(0, i).reduce((a, b) => a + b, 0)) / total);
  const x = (dispatch: number): number => (WIDTH * dispatch) / dispatches.length;
  return (
    <figure class="memory-plan">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${intervals.length} intermediate values share ${slots.length} buffers of ${bytesText(total)}`}
      >
        {intervals.map(({ slot, first, last, bytes }, i) => (
          <rect
            key={i}
            class={i % 2 === 0 ? "even" : "odd"}
            x={x(first)}
            width={x(last + 1) - x(first)}
            y={tops[slot]}
            height={Math.max(0.5, (HEIGHT * bytes) / total - 0.5)}
          />
        ))}
      </svg>
      <figcaption class="soft">
        The plan of its memory: the step runs from left to right, each row is a buffer, each block is a value
        for as long as it is needed.
      </figcaption>
    </figure>
  );
}
