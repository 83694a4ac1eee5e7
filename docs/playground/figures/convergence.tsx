/** Figure 3 of the paper: how far each update moves the two states. */
import { cursor, thought, twin } from "../state/page_state.js";
import { scrub, updatesOf } from "../state/thinking.js";
import { Chart } from "../views/chart.js";
import { residualsOf } from "../../../hrm/drawing/residuals.js";
import { Figure } from "./figure.js";

export function Convergence() {
  const shown = thought.value;
  const untrained = twin.value;
  const fits =
    shown && untrained && untrained.inputs.every((token, i) => token === shown.inputs[i]) ? untrained : null;
  return (
    <Figure
      id="convergence"
      title="The worker settles, the planner moves on"
      plain={
        <>
          Every turn changes the notes that the model keeps about the puzzle: the worker&apos;s notes and the
          planner&apos;s. The curves say how much. Within a round the worker&apos;s changes get smaller, as it
          settles. Then the planner writes a new plan, and the worker has something new to settle. Move along
          the curve, and the board above shows the answer at that moment.
        </>
      }
      expert={
        <>
          The L2 norm over the hidden units of the change of z_L and z_H, as a mean over positions, for the
          puzzle on the board. Dotted: the same with the initial weights of the same seed. The scale is
          logarithmic; bands are segments. Hierarchical convergence is the claim that z_L converges within a
          cycle and is reset by z_H, so that the depth of the computation grows with the cycles.
        </>
      }
      place="Wang et al. 2025, section 2 (“Hierarchical convergence”) and figure 3"
    >
      {shown ? (
        <>
          <Chart
            id="residual-chart"
            label="How far each update moves the two states"
            data={[
              Array.from(shown.thought.residuals, (_, i) => i + 1),
              residualsOf(shown.thought, "L"),
              residualsOf(shown.thought, "H"),
              ...(fits ? [residualsOf(fits.thought, "L"), residualsOf(fits.thought, "H")] : []),
            ]}
            series={[
              { label: "worker (z_L)", color: "--cells", points: true },
              { label: "planner (z_H)", color: "--exact", points: true },
              ...(fits
                ? [
                    { label: "worker, untrained", color: "--cells", dash: [2, 4], width: 1 },
                    { label: "planner, untrained", color: "--exact", dash: [2, 4], width: 1 },
                  ]
                : []),
            ]}
            logarithmic
            bands={Array.from({ length: Math.ceil(shown.thought.segments / 2) }, (_, i) => {
              const width = shown.thought.levels.length;
              return [2 * i * width + 0.5, (2 * i + 1) * width + 0.5] as const;
            })}
            format={(v) => v.toPrecision(2)}
            xLabel="update"
            height={240}
            onHover={(index) => index !== cursor.value && scrub(index)}
          />
          <p class="soft">
            The thought on the board has {updatesOf(shown.thought)} updates, which are the turns above.
            {fits ? "" : " The untrained curves are being computed…"}
          </p>
        </>
      ) : (
        <p class="soft">The curve comes with the first thought.</p>
      )}
    </Figure>
  );
}
