/** Asks what a file of weights alone is for: nothing in such a file says it. */
import { useRef } from "preact/hooks";
import { findPreset } from "../../../hrm/training/presets.js";
import { openAs } from "../state/files.js";
import { asking } from "../state/page_state.js";

export function WhichPuzzles() {
  const choice = useRef<HTMLSelectElement>(null);
  const now = asking.value;
  if (!now) return null;
  return (
    <section class="notice" id="which-puzzles" aria-label="A file to open">
      <p>
        <b>{now.name}</b> holds the numbers of a model and nothing else. Which puzzles was the model trained
        on?
      </p>
      <div class="buttons">
        <label>
          <span class="unseen">Puzzles of the model</span>
          <select id="which" ref={choice} key={now.name}>
            {now.presets.map((name) => (
              <option key={name} value={name}>
                {findPreset(name)?.summary ?? name}
              </option>
            ))}
          </select>
        </label>
        <button type="button" id="open-as" onClick={() => void openAs(choice.current!.value)}>
          Open it
        </button>
        <button type="button" onClick={() => (asking.value = null)}>
          Leave it
        </button>
      </div>
    </section>
  );
}
