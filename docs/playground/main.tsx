/** Starts the page: the address decides the run, and a small trained model thinks while the trainer is compiled. */
import { effect } from "@preact/signals";
import { render } from "preact";
import { App } from "./app.js";
import { dropEdit } from "./puzzles/editor.js";
import { readPlace, sameRun } from "./run_config.js";
import { openShipped, prepare, restart, save, writeAddress } from "./state/client.js";
import { followOtherTabs, readKept } from "./state/kept_runs.js";
import { draft, models, notice, phase, puzzle, run, step, unsupported, watched } from "./state/page_state.js";
import { showHeld, startPlayer } from "./state/thinking.js";

function tellProblems(problems: readonly string[]): void {
  if (problems.length > 0)
    notice.value = `The address asks for what cannot be; the preset's value is used. ${problems.join(" ")}`;
}

/** Follows a changed address: another puzzle is shown, another run waits until it is applied. */
function followAddress(): void {
  if (!/=/.test(location.hash)) return;
  const place = readPlace(location.hash);
  tellProblems(place.problems);
  if (place.puzzle !== null) showHeld(place.puzzle - 1);
  if (sameRun(place.run, run.value)) return;
  if (step.value === 0 && phase.value !== "training") prepare(place.run);
  else draft.value = place.run;
}

const root = document.documentElement;
const place = readPlace(location.hash);
run.value = place.run;
draft.value = place.run;
tellProblems(place.problems);
unsupported.value = !("gpu" in navigator) || !navigator.gpu;

effect(() => {
  root.dataset["phase"] = phase.value;
  root.dataset["step"] = String(step.value);
});
effect(() => {
  void watched.value;
  void models.value;
  dropEdit();
});
effect(() => {
  if (puzzle.value) writeAddress();
});
startPlayer();
render(<App />, document.getElementById("app")!);

if (!unsupported.value) {
  restart();
  void readKept();
  followOtherTabs();
  void openShipped(place.puzzle === null ? null : place.puzzle - 1, place.run);
  window.addEventListener("hashchange", followAddress);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden" && phase.value === "training") save("keep");
  });
}
