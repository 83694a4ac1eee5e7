/** The scrubber below the board: a tick for every update, and a flag where the model first wants to stop. */
import { cursor, model, playing, thought } from "../state/page_state.js";
import { firstStop, play, scrub, updatesOf } from "../state/thinking.js";

/** Where an update is in words: `Round 2 of 8, turn 1 of 2: the fast worker`. */
export function placeOf(update: number): string {
  const shown = thought.value?.thought;
  if (!shown || update < 0) return "The puzzle, before the first turn";
  const { levels, segments } = shown;
  const u = update % levels.length;
  const who = levels[u] === "H" ? "the slow planner" : "the fast worker";
  return `Round ${Math.floor(update / levels.length) + 1} of ${segments}, turn ${u + 1} of ${levels.length}: ${who}`;
}

/** How sure the model is of its whole answer: the sigmoid of q_halt, from 0 to 1. */
export const sureness = (qHalt: number): number => 1 / (1 + Math.exp(-qHalt));

export function Scrubber() {
  const shown = thought.value?.thought;
  const count = shown ? updatesOf(shown) : 1;
  const stop = shown ? firstStop(shown, model.value?.haltOnly ?? true) : -1;
  const at = (update: number): number => (100 * (update + 1)) / count;
  const rounds = shown ? Array.from({ length: shown.segments }, (_, s) => s) : [];
  return (
    <div class="scrubber">
      <button
        type="button"
        id="play"
        class="round"
        aria-disabled={!shown}
        onClick={() => (playing.value ? (playing.value = false) : play())}
      >
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d={playing.value ? "M7.5 5.5h3.2v13H7.5zM13.3 5.5h3.2v13h-3.2z" : "M8.5 5.5v13l10.5-6.5z"} />
        </svg>
        <span class="unseen">{playing.value ? "Stop the replay" : "Replay the thought"}</span>
      </button>
      <div class="track">
        <svg class="ticks" viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true">
          {shown &&
            rounds.map((s) => (
              <rect
                key={`band${s}`}
                class={s % 2 === 0 ? "band even" : "band odd"}
                x={at(s * shown.levels.length - 1)}
                width={at((s + 1) * shown.levels.length - 1) - at(s * shown.levels.length - 1)}
                y="0"
                height="30"
              />
            ))}
          {shown &&
            Array.from({ length: count }, (_, update) => {
              const level = shown.levels[update % shown.levels.length]!;
              const past = stop >= 0 && update > stop;
              return (
                <line
                  key={update}
                  class={`tick ${level}${past ? " past" : ""}${update === cursor.value ? " here" : ""}`}
                  x1={at(update)}
                  x2={at(update)}
                  y1={level === "H" ? 6 : 17}
                  y2="28"
                />
              );
            })}
        </svg>
        {stop >= 0 && (
          <div class="flags">
            <span class="flag" style={{ left: `${at(stop)}%` }}>
              <span>wants to stop</span>
            </span>
          </div>
        )}
        <input
          type="range"
          id="scrub"
          aria-label="Turn of the thought"
          aria-valuetext={placeOf(cursor.value)}
          min={-1}
          max={count - 1}
          step={1}
          value={cursor.value}
          disabled={!shown}
          onInput={(event) => take(event.currentTarget)}
          // Home at the first update changes no value, and still means that the visitor takes over.
          onKeyDown={(event) => /^(Arrow|Home|End|Page)/.test(event.key) && take(event.currentTarget)}
        />
      </div>
    </div>
  );
}

/** The visitor takes the scrubber: nothing plays any more. */
function take({ value }: HTMLInputElement): void {
  playing.value = false;
  scrub(Number(value));
}

/** What happens at the update under the scrubber. */
export function Caption() {
  const shown = thought.value;
  const update = cursor.value;
  if (!shown || update < 0) return <p class="caption">The puzzle, before the model begins.</p>;
  const { qHalt, residuals } = shown.thought;
  return (
    <p class="caption" id="caption">
      {placeOf(update)}. The model is <b>{(100 * sureness(qHalt[update]!)).toFixed(0)}%</b> sure that its
      whole answer is right.{" "}
      <span class="soft">This turn changed its notes by {residuals[update]!.toFixed(2)}.</span>
    </p>
  );
}
