/** Figure 5 of the paper: how long the model thinks about each puzzle, and what more time brings. */
import { signal } from "@preact/signals";
import { formatPercent } from "../../../hrm/training/statistics.js";
import { census, model, models, watched } from "../state/page_state.js";
import { showHeld } from "../state/thinking.js";
import { Chart } from "../views/chart.js";
import { Figure } from "./figure.js";
import { accuracyBySegments, stopsOf } from "./halting_counts.js";

/** The bar whose puzzles are listed. */
const chosen = signal<number | null>(null);

/** Puzzles of a bar that are listed at most. */
const LISTED = 12;

export function Halting() {
  const taken = census.value;
  const info = models.value[watched.value];
  const fits = taken && info && taken.source === watched.value ? taken : null;
  return (
    <Figure
      id="halting"
      title="It stops when it is sure"
      plain={
        <>
          After each round the model says how sure it is that the whole answer is right, and may stop. Each
          bar counts the puzzles that would stop after so many rounds. Easy puzzles stop early. Press a bar to
          see its puzzles.
        </>
      }
      expert={
        <>
          The first segment with {model.value?.haltOnly ? "q_halt above 0" : "q_halt above q_continue"},
          within the segments of training; the last bar has also the puzzles that never halt by themselves.
          The curve forces every puzzle to run that many segments, up to twice the number of training.
          Evaluation runs all segments, as the official code does.
        </>
      }
      place="Wang et al. 2025, section 2 (“Adaptive computational time”) and figure 5"
    >
      {fits ? (
        <Bars taken={fits} limit={info!.segments} haltOnly={info!.haltOnly} />
      ) : (
        <p class="soft">Counting…</p>
      )}
    </Figure>
  );
}

function Bars({
  taken,
  limit,
  haltOnly,
}: {
  taken: NonNullable<typeof census.value>;
  limit: number;
  haltOnly: boolean;
}) {
  const stops = stopsOf(taken.census, limit, haltOnly);
  const most = Math.max(1, ...stops.map(({ right, wrong }) => right.length + wrong.length));
  const curve = accuracyBySegments(taken.census);
  const open = chosen.value === null ? null : stops[chosen.value];
  return (
    <>
      <div class="bars" id="halting-bars">
        {stops.map(({ right, wrong }, s) => (
          <button
            type="button"
            key={s}
            aria-pressed={chosen.value === s}
            aria-label={`${right.length + wrong.length} puzzles stop after round ${s + 1}: ${right.length} right, ${wrong.length} wrong`}
            data-right={right.length}
            data-wrong={wrong.length}
            onClick={() => (chosen.value = chosen.value === s ? null : s)}
          >
            <span class="bar-stack" aria-hidden="true">
              <span class="wrong" style={{ height: `${(100 * wrong.length) / most}%` }} />
              <span class="right" style={{ height: `${(100 * right.length) / most}%` }} />
            </span>
            <span aria-hidden="true">{s + 1}</span>
          </button>
        ))}
      </div>
      <p class="soft">
        Each bar counts those of {taken.census.puzzles} puzzles that stop after so many rounds.{" "}
        <span class="key right">right</span> <span class="key wrong">wrong</span>
      </p>
      {open && (
        <p class="tools" id="halting-puzzles">
          {[...open.wrong.map((i) => [i, "wrong"] as const), ...open.right.map((i) => [i, "right"] as const)]
            .slice(0, LISTED)
            .map(([index, verdict]) => (
              <button
                type="button"
                key={index}
                onClick={() => {
                  showHeld(index);
                  document.getElementById("watch")?.scrollIntoView();
                }}
              >
                {index + 1} ({verdict})
              </button>
            ))}
        </p>
      )}
      <h4>Solved if it has to think for so many rounds</h4>
      <Chart
        id="segments-chart"
        label={`Puzzles solved after 1 round ${formatPercent(curve[0]!)}, after ${limit} rounds ${formatPercent(curve[limit - 1] ?? curve.at(-1)!)}`}
        data={[curve.map((_, s) => s + 1), curve]}
        series={[{ label: "solved", color: "--exact", points: true }]}
        range={[0, 1]}
        bands={[[limit + 0.5, curve.length + 0.5]]}
        format={(v) => `${(100 * v).toFixed(0)}%`}
        xLabel="rounds"
        height={170}
      />
      <p class="soft">In the band the model thinks for more rounds than in its training.</p>
    </>
  );
}
