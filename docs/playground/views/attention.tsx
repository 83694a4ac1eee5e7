/** Where a cell looks: for each head of the last layer, a small board whose cells are tinted by the attention that they get. */
import { attentionOf } from "../../../hrm/thinking/attention_weights.js";
import { lookOf } from "../../../hrm/drawing/cells.js";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";
import { attended, attention, cursor, task, thought } from "../state/page_state.js";
import { boardAt, isOf } from "../state/thinking.js";

const percent = (share: number): string => `${(100 * share).toFixed(0)}%`;
const placeOf = (rules: Task, cell: number): string =>
  `row ${Math.floor(cell / rules.columns) + 1}, column ${(cell % rules.columns) + 1}`;

export function AttentionMapsPanel() {
  return (
    <section class="attention" id="attention" aria-labelledby="attention-title">
      <p id="attention-title">
        <b>Where a cell looks</b>
      </p>
      <Maps />
    </section>
  );
}

function Maps() {
  const [rules, shown, cell, found] = [task.value, thought.value, attended.value, attention.value];
  const update = cursor.value;
  if (!rules || cell === null || cell >= rules.length)
    return <p class="soft">Point at a cell of the board, or go to it by keys.</p>;
  if (update < 0 || !shown) return <p class="soft">The model has not begun. Move the slider to a turn.</p>;
  const maps = isOf(found, shown) ? found!.maps : undefined;
  if (maps === undefined) return <p class="soft">Asking the model…</p>;
  if (maps === null) return <p class="soft">This model mixes its cells in another way, without attention.</p>;
  const level = maps.levels[update % maps.levels.length]!;
  const weights = attentionOf(maps, update, cell);
  const { tokens } = boardAt(shown.thought, update);
  return (
    <>
      <p class="soft">
        To change its notes, {placeOf(rules, cell)} reads the notes of other cells. This is what it reads in
        this turn of {level === "H" ? "the slow planner (H)" : "the fast worker (L)"}, once for each head of
        its last layer. A head is one of the model&apos;s ways to look around.
      </p>
      <div class="heads">
        {Array.from({ length: maps.heads }, (_, head) => (
          <Head
            key={head}
            {...{ rules, cell, head, tokens }}
            weights={weights.subarray(head * maps.positions + maps.prefix, (head + 1) * maps.positions)}
          />
        ))}
      </div>
    </>
  );
}

/** One head. The darkest cell gets the most; how much that is stands below. */
function Head(props: { rules: Task; cell: number; head: number; tokens: Int32Array; weights: Float64Array }) {
  const { rules, cell, head, tokens, weights } = props;
  const { rows, columns } = rules;
  const most = weights.reduce((best, w, i) => (w > weights[best]! ? i : best), 0);
  const words = `Head ${head + 1}: most, ${percent(weights[most]!)}, goes to ${placeOf(rules, most)}`;
  return (
    <figure class="head">
      <svg viewBox={`0 0 ${columns} ${rows}`} role="img" aria-label={words}>
        {Array.from(weights, (weight, at) => {
          const [x, y] = [at % columns, Math.floor(at / columns)];
          return (
            <g key={at} data-weight={weight.toFixed(6)}>
              <rect class="ground" {...{ x, y }} width="1" height="1" />
              <rect class="heat" {...{ x, y }} width="1" height="1" opacity={weight / weights[most]!} />
              <text x={x + 0.5} y={y + 0.72}>
                {lookOf(rules, tokens[at]!).text}
              </text>
            </g>
          );
        })}
        <rect
          class="own"
          x={(cell % columns) + 0.05}
          y={Math.floor(cell / columns) + 0.05}
          width="0.9"
          height="0.9"
        />
      </svg>
      <figcaption>
        head {head + 1}: at most {percent(weights[most]!)}
      </figcaption>
    </figure>
  );
}
