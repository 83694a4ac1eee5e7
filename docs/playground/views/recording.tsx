/** What browsers without WebGPU show: a recorded thought, and it says that it is one. */
import { useEffect } from "preact/hooks";
import { RECORDING, SHIPPED } from "../models/shipped.js";
import { cursor, models, playing, puzzle, thought } from "../state/page_state.js";
import { Board } from "./board.js";
import { Caption, Scrubber } from "./scrubber.js";
import { Levels } from "./watch.js";

/** The file, as `record.mjs` prints it. */
interface Recorded {
  readonly task: string;
  readonly step: number;
  readonly parameters: number;
  readonly haltOnly: boolean;
  readonly inputs: readonly number[];
  readonly length: number;
  readonly segments: number;
  readonly levels: readonly ("L" | "H")[];
  readonly tokens: readonly number[];
  readonly confidence: readonly number[];
  readonly qHalt: readonly number[];
  readonly qContinue: readonly number[];
  readonly residuals: readonly number[];
}

/** Puts the recording on the board. */
export function showRecording(recorded: Recorded): void {
  const { task, step, parameters, haltOnly, length, segments, levels } = recorded;
  const nothing = { count: 0, inputs: new Int32Array(), labels: new Int32Array(), unseen: false };
  const inputs = Int32Array.from(recorded.inputs);
  models.value = {
    run: null,
    file: {
      ...{ source: "file", task, name: RECORDING, parameters, step, segments, haltOnly, notes: [] },
      ...{ held: nothing, run: null, stuck: null },
    },
  };
  puzzle.value = { inputs, label: null, index: null };
  thought.value = {
    ...{ source: "file", step, inputs },
    thought: {
      ...{ length, segments, levels, nonFinite: 0 },
      tokens: Int32Array.from(recorded.tokens),
      confidence: Float32Array.from(recorded.confidence),
      qHalt: Float32Array.from(recorded.qHalt),
      qContinue: Float32Array.from(recorded.qContinue),
      residuals: Float32Array.from(recorded.residuals),
    },
  };
  cursor.value = -1;
  playing.value = !matchMedia("(prefers-reduced-motion: reduce)").matches;
}

export function Recording() {
  useEffect(() => {
    void fetch(RECORDING)
      .then((answer) => answer.json() as Promise<Recorded>)
      .then(showRecording)
      .catch(() => undefined);
  }, []);
  if (!thought.value) return null;
  return (
    <section class="watch" id="recording" aria-labelledby="recording-title">
      <div class="stage">
        <Board />
        <Scrubber />
      </div>
      <div class="story">
        <h2 id="recording-title">Until then: a recording of a model that thinks.</h2>
        <Levels />
        <Caption />
        <p class="soft">
          Nothing is computed here. This was recorded earlier by{" "}
          <code>node docs/playground/models/record.mjs</code> from the model that{" "}
          <code>{SHIPPED.command}</code> trained. With WebGPU this page runs the model, and trains new ones.
        </p>
      </div>
    </section>
  );
}
