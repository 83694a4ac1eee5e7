/** Figures 3 and 8 of the paper: where the states move, how many dimensions they fill, and how long units remember. */
import { signal } from "@preact/signals";
import { participations, states, watched } from "../../state/page_state.js";
import { aligned } from "../../../../hrm/drawing/columns.js";
import { Chart } from "../../views/chart.js";
import { Figure } from "../figure.js";
import { StateCanvas } from "./canvas.js";

type Level = "L" | "H";
const shown = signal<Level>("L");

const NAMES = { L: "worker", H: "planner" } as const;
const COLOURS = { L: "--cells", H: "--exact" } as const;

const taken = () => (states.value?.source === watched.value ? states.value.states : null);

export function StatePaths() {
  const seen = taken();
  const level = shown.value;
  const space = seen?.trained;
  const solved = space?.right.reduce((sum, x) => sum + x, 0) ?? 0;
  return (
    <Figure
      id="state-space"
      title="Every puzzle takes its own way"
      plain={
        <>
          The notes of the planner and of the worker are lists of numbers. Each line is one puzzle: it shows
          how the list changes from the first update (faint) to the last (strong), squeezed into three
          dimensions. A disc ends a puzzle that is solved, a cross one that is not. Turn it with the mouse, a
          finger or the arrow keys.
        </>
      }
      expert={
        <>
          States are means over the cells of the grid, after every update of either level. The axes are the
          first three principal components of all points of a level
          {space ? `, which have ${(100 * space[level].share).toFixed(0)}% of the variance` : ""}. A new look
          is turned towards the one before (orthogonal Procrustes), so that only what changed moves.
        </>
      }
      place="Wang et al. 2025, section 2 (“Hierarchical convergence”), figures 3 and 8"
    >
      <fieldset class="axis">
        <legend class="unseen">Level</legend>
        {(["L", "H"] as const).map((name) => (
          <label key={name}>
            <input
              type="radio"
              name="level"
              value={name}
              checked={level === name}
              onChange={() => (shown.value = name)}
            />
            Notes of the {NAMES[name]}
          </label>
        ))}
      </fieldset>
      {space ? (
        <>
          <StateCanvas
            scene={{ ...space, points: space[level].points }}
            line={COLOURS[level]}
            label={`${space.puzzles} puzzles over ${space.updates} updates; ${solved} end right.`}
          />
          <p class="soft">
            {space.puzzles} puzzles: {solved} end right, {space.puzzles - solved} wrong.
          </p>
        </>
      ) : (
        <p class="soft">Following the puzzles…</p>
      )}
    </Figure>
  );
}

export function TimesAndDimensions() {
  const seen = taken();
  return (
    <Figure
      id="timescales"
      title="Slow and fast, seen from inside"
      plain={
        <>
          Each point is one number of the notes. The higher it lies, the longer it stays as it is. If the
          planner&apos;s curve lies above the worker&apos;s, the planner changes its mind more slowly. Dotted
          is a model that never learned. The table says in how many directions the notes vary.
        </>
      }
      expert={
        <>
          Above: the integrated autocorrelation time of each unit over all updates, sorted. Below: the
          participation ratio, (sum of eigenvalues)² / (sum of squares), of the covariance of the states. The
          paper finds that z_H fills more dimensions than z_L after training, and not before. Here the states
          are means over the cells, and the models are small.
        </>
      }
      place="Wang et al. 2025, section 4 (“Brain correspondence”) and figure 8"
    >
      {seen ? (
        <>
          <Times seen={seen} />
          <Dimensions seen={seen} />
        </>
      ) : (
        <p class="soft">Following the puzzles…</p>
      )}
    </Figure>
  );
}

type Seen = NonNullable<ReturnType<typeof taken>>;

function Times({ seen: { trained, untrained } }: { seen: Seen }) {
  const columns = [trained.L.times, trained.H.times, untrained.L.times, untrained.H.times];
  const middle = (times: Float64Array): string => (times[Math.floor(times.length / 2)] ?? NaN).toFixed(1);
  return (
    <Chart
      id="times-chart"
      label={`How many updates units remember: in the middle ${middle(trained.L.times)} for the worker, ${middle(trained.H.times)} for the planner`}
      title="Autocorrelation time of each unit, sorted"
      data={aligned(columns.map((times) => [Array.from(times, (_, i) => i + 1), [...times]] as const))}
      series={[
        { label: "worker (z_L)", color: "--cells", points: true },
        { label: "planner (z_H)", color: "--exact", points: true },
        { label: "worker, untrained", color: "--cells", dash: [2, 4], width: 1 },
        { label: "planner, untrained", color: "--exact", dash: [2, 4], width: 1 },
      ]}
      format={(v) => v.toFixed(1)}
      xLabel="number of the unit, sorted"
      height={200}
      exports
    />
  );
}

function Dimensions({ seen: { trained, untrained } }: { seen: Seen }) {
  const looks = participations.value;
  return (
    <>
      <table class="numbers" id="dimensions">
        <caption>Dimensions that the notes fill</caption>
        <thead>
          <tr>
            <th scope="col">Notes of</th>
            <th scope="col">This model</th>
            <th scope="col">Untrained twin</th>
          </tr>
        </thead>
        <tbody>
          {(["L", "H"] as const).map((level) => (
            <tr key={level}>
              <th scope="row">
                the {NAMES[level]} (z_{level})
              </th>
              <td>{trained[level].participation.toFixed(2)}</td>
              <td>{untrained[level].participation.toFixed(2)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {looks.length > 1 && (
        <Chart
          id="participation-chart"
          label="Dimensions that the notes fill, look by look"
          data={[looks.map((p) => p.step), looks.map((p) => p.L), looks.map((p) => p.H)]}
          series={[
            { label: "worker", color: "--cells", points: true },
            { label: "planner", color: "--exact", points: true },
          ]}
          format={(v) => v.toFixed(1)}
          xLabel="step"
          height={150}
        />
      )}
    </>
  );
}
