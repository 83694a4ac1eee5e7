/** The last runs: overlaid curves, what their configurations differ in, and everything that can be exported. */
import { aligned } from "../../../hrm/drawing/columns.js";
import { signal } from "@preact/signals";
import { formatPercent } from "../../../hrm/training/statistics.js";
import { differencesOf } from "../run_config.js";
import { changeSettings, deleteRun, resume } from "../state/client.js";
import { curves, curvesChanged } from "../state/curves.js";
import { download } from "../state/download.js";
import { elsewhere, keptRuns, runIdentity, type KeptRun } from "../state/kept_runs.js";
import { phase, run, settings, step } from "../state/page_state.js";
import { Chart, type Series } from "../views/chart.js";
import { presetText } from "../views/start.js";
import {
  changeText,
  pointsOf,
  runsAsCsv,
  runsAsJson,
  smoothed,
  type Axis,
  type Quantity,
  type ShownRun,
} from "./columns.js";

/** Runs that are drawn at most. */
const MOST = 6;
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 4], [1, 2]] as const;

const axis = signal<Axis>("step");
/** Runs that the visitor does not want to see. */
const hidden = signal<ReadonlySet<string>>(new Set());

/** Curves that nobody sees are not drawn. */
const moreOpen = signal(false);

/** A run of the list: its colour and dash stay while it is in the list. */
interface ListedRun extends ShownRun {
  readonly place: number;
  /** Absent for the run under way before it was kept. */
  readonly kept?: KeptRun | undefined;
  readonly current: boolean;
}

/** The run under way and the newest of the others. */
function listedRuns(): ListedRun[] {
  curvesChanged.value;
  const { id, name } = runIdentity.value;
  const own = keptRuns.value.find((kept) => kept.id === id);
  const others = keptRuns.value.filter((kept) => kept.id !== id).slice(0, MOST - 1);
  const now = { id, name, run: run.value, curves: curves.current, place: 0, kept: own, current: true };
  return [now, ...others.map((kept, i) => ({ ...kept, kept, place: i + 1, current: false }))];
}

/** Kept runs that {@link listedRuns} leaves out. */
const olderRuns = (): KeptRun[] =>
  keptRuns.value.filter(({ id }) => id !== runIdentity.value.id).slice(MOST - 1);

const color = (place: number): string => `--run-${place}`;

/** A chart of a quantity over the runs that are shown. */
function QuantityChart(props: {
  id: string;
  title: string;
  quantity: Quantity;
  runs: readonly ListedRun[];
  format: (value: number) => string;
  smooth?: boolean;
  range?: readonly [number, number];
  small?: boolean;
}) {
  const { id, title, quantity, runs, format, smooth = false, range, small = false } = props;
  const points = runs.map((shown) => pointsOf(shown, quantity, axis.value));
  // A single run is drawn with every report behind its smoothed curve.
  const raw = smooth && runs.length === 1;
  const drawn = points.map(([x, y]) => [x, smooth ? smoothed(y) : y] as const);
  const of = (r: ListedRun): string => (r.current ? `${r.name} (now)` : r.name);
  const series: Series[] = [
    ...(raw ? [{ label: "each report", color: "--raw", width: 1 }] : []),
    ...runs.map((r) => ({
      label: of(r),
      color: color(r.place),
      ...(r.place > 0 && { dash: DASHES[r.place]! }),
      ...(quantity.of === "looks" && { points: true }),
    })),
  ];
  const last = points.map(
    ([, y], i) => `${of(runs[i]!)} ${Number.isFinite(y.at(-1)) ? format(y.at(-1)!) : "none"}`,
  );
  return (
    <div>
      <h3>{title}</h3>
      <Chart
        id={id}
        label={`${title}: ${last.join(", ")}`}
        title={title}
        data={aligned([...(raw ? points : []), ...drawn])}
        series={series}
        {...(range && { range })}
        {...(small && { height: 150 })}
        format={format}
        xLabel={axis.value === "step" ? "step" : "seconds"}
        sync="runs"
        exports
      />
    </div>
  );
}

const short = (v: number): string => v.toPrecision(3);
const percent = (v: number): string => `${(100 * v).toFixed(0)}%`;

/** Curves that few visitors look at. */
const MORE = [
  ["lm", "Error of the answer's cells", { of: "training", column: "lm" }, short],
  ["q", "Error of how sure it is", { of: "training", column: "q" }, short],
  ["gradient", "Length of the gradient", { of: "training", column: "gradient" }, short],
  ["lr", "Learning rate", { of: "training", column: "lr" }, (v: number) => v.toExponential(1)],
  ["act", "Rounds until a puzzle is left", { of: "training", column: "actSteps" }, short],
  ["cells", "Cells right, unseen puzzles", { of: "looks", column: "cells" }, percent],
] as const;

function Curves({ runs }: { runs: readonly ListedRun[] }) {
  return (
    <>
      <div class="pair">
        <QuantityChart
          id="loss-chart"
          title="Error on the puzzles that it trains on"
          quantity={{ of: "training", column: "loss" }}
          {...{ runs, format: short }}
          smooth
        />
        <QuantityChart
          id="accuracy-chart"
          title="Whole puzzles solved that it never trains on"
          quantity={{ of: "looks", column: "exact" }}
          {...{ runs, format: percent }}
          range={[0, 1]}
        />
      </div>
      <p class="soft">
        The paper calls the error the loss. Lower is better. The curve is smoothed. Most cells are right long
        before a whole puzzle is. Training ends once {formatPercent(run.value.target)} of the whole puzzles
        are solved.
      </p>
      <details id="more-curves" onToggle={(event) => (moreOpen.value = event.currentTarget.open)}>
        <summary>More curves</summary>
        {moreOpen.value && <MoreCurves runs={runs} />}
      </details>
    </>
  );
}

function MoreCurves({ runs }: { runs: readonly ListedRun[] }) {
  return (
    <>
      <p class="soft">
        The gradient says how each number of the model has to change for a smaller error. The learning rate
        says how far a step goes in that direction.
      </p>
      <div class="pair small">
        {MORE.map(([id, title, quantity, format]) => (
          <QuantityChart key={id} id={`${id}-chart`} {...{ title, quantity, runs, format }} small />
        ))}
      </div>
    </>
  );
}

/** One run of the list, with what its configuration differs in from the run under way. */
function RunRow({ listed }: { listed: ListedRun }) {
  const { id, name, place, current, kept } = listed;
  const differences = current ? [] : differencesOf(listed.run, run.value);
  const { changes } = listed.curves;
  const size = kept ? `${(kept.bytes / 1e6).toFixed(1)} MB kept` : "not kept yet";
  const at = current ? step.value : kept!.step;
  return (
    <li data-run={name}>
      <label>
        <input
          type="checkbox"
          checked={!hidden.value.has(id)}
          onChange={(event) => {
            const next = new Set(hidden.value);
            if (event.currentTarget.checked) next.delete(id);
            else next.add(id);
            hidden.value = next;
          }}
        />
        <svg class="swatch" viewBox="0 0 24 8" aria-hidden="true">
          <line
            x1="0"
            x2="24"
            y1="4"
            y2="4"
            style={{ stroke: `var(${color(place)})` }}
            stroke-dasharray={DASHES[place]!.join(" ")}
          />
        </svg>
        <b>{name}</b>
      </label>
      <span class="soft">
        {presetText(listed.run).title}, step {at.toLocaleString("en")}, {size}
        {current ? "; this is the run under way" : ""}
        {differences.length > 0 ? `; ${differences.join(", ")}` : ""}
        {changes.length > 0 ? `; ${changes.map(changeText).join("; ")}` : ""}.
      </span>
      {!current && <KeptTools kept={kept!} />}
    </li>
  );
}

/** What can be done with a run that is kept. */
function KeptTools({ kept }: { kept: KeptRun }) {
  if (elsewhere.value.has(kept.id)) return <span>It is under way in another tab.</span>;
  return (
    <span class="buttons">
      {kept.step < kept.run.steps && (
        <button type="button" onClick={() => void resume(kept)}>
          Go on
        </button>
      )}
      <button type="button" onClick={() => void deleteRun(kept)}>
        Delete
      </button>
    </span>
  );
}

/** Runs that are too old for the charts: still kept, so that the visitor sees what they take and can delete them. */
function OlderRuns() {
  const older = olderRuns();
  if (older.length === 0) return null;
  const size = older.reduce((sum, { bytes }) => sum + bytes, 0);
  return (
    <details id="older-runs">
      <summary>
        {older.length} older {older.length === 1 ? "run" : "runs"}, {(size / 1e6).toFixed(1)} MB
      </summary>
      <ul class="runs">
        {older.map((kept) => (
          <li key={kept.id} data-run={kept.name}>
            <b>{kept.name}</b>
            <span class="soft">
              {presetText(kept.run).title}, step {kept.step.toLocaleString("en")},{" "}
              {(kept.bytes / 1e6).toFixed(1)} MB kept.
            </span>
            <KeptTools kept={kept} />
          </li>
        ))}
      </ul>
    </details>
  );
}

/** Learning rate and exploration of the run under way. */
function Settings() {
  const now = settings.value;
  const open = ["ready", "training", "paused"].includes(phase.value);
  if (!now || !open || (step.value === 0 && phase.value !== "training")) return null;
  const field = (name: "lr" | "exploration", label: string) => (
    <label>
      {label}{" "}
      <input
        id={`now-${name}`}
        inputMode="decimal"
        size={8}
        key={`${name} ${now[name]}`}
        defaultValue={String(now[name])}
        onChange={({ currentTarget: { value } }) =>
          changeSettings({ ...now, [name]: value.trim() === "" ? NaN : Number(value) })
        }
      />
    </label>
  );
  return (
    <fieldset class="now" id="settings">
      <legend>Change while it trains</legend>
      {field("lr", "Learning rate")}
      {field("exploration", "Exploration")}
      <p class="soft">
        The learning rate is how far each step changes the model. Exploration is the share of puzzles, from 0
        to 1, for which the model must think a random number of rounds. Both apply to the next step and are
        recorded in the run.
      </p>
    </fieldset>
  );
}

export function Runs() {
  const listed = listedRuns();
  const runs = listed.filter(({ id, curves: c }) => !hidden.value.has(id) && c.training.step.length > 0);
  return (
    <section class="panel" id="training" aria-labelledby="training-title">
      <h2 id="training-title">What your runs have learned so far</h2>
      {runs.length === 0 ? (
        <p class="soft">Nothing yet. The curves begin once you press Start training.</p>
      ) : (
        <>
          <fieldset class="axis">
            <legend class="unseen">Horizontal axis</legend>
            {(["step", "seconds"] as const).map((name) => (
              <label key={name}>
                <input
                  type="radio"
                  name="axis"
                  value={name}
                  checked={axis.value === name}
                  onChange={() => (axis.value = name)}
                />
                {name === "step" ? "By steps" : "By seconds"}
              </label>
            ))}
          </fieldset>
          <Curves runs={runs} />
        </>
      )}
      <Settings />
      {listed.length > 1 || listed[0]!.curves.training.step.length > 0 ? (
        <>
          <h3>Your last runs</h3>
          <ul class="runs" id="runs">
            {listed.map((r) => (
              <RunRow key={r.id} listed={r} />
            ))}
          </ul>
          <OlderRuns />
          <p class="buttons">
            <button
              type="button"
              id="export-csv"
              onClick={() => download("hrm-runs.csv", runsAsCsv(runs), "text/csv")}
            >
              Export as CSV
            </button>
            <button
              type="button"
              id="export-json"
              onClick={() => download("hrm-runs.json", runsAsJson(runs), "application/json")}
            >
              Export as JSON
            </button>
          </p>
        </>
      ) : null}
    </section>
  );
}
