/** Offers to go on with the newest run that this browser keeps. */
import { deleteRun, resume } from "../state/client.js";
import { elsewhere, keptRuns, keepProblem, runIdentity } from "../state/kept_runs.js";
import { failure, phase, step } from "../state/page_state.js";
import { presetText } from "./start.js";

export function ResumeOffer() {
  const kept = keptRuns.value.find(
    ({ id, step: at, run }) => at > 0 && at < run.steps && !elsewhere.value.has(id),
  );
  const waiting = step.value === 0 && (phase.value === "preparing" || phase.value === "ready");
  if (keepProblem.value) return <p class="notice">{keepProblem.value}</p>;
  if (!kept || !waiting || failure.value || kept.id === runIdentity.value.id) return null;
  return (
    <section class="notice" id="resume-offer" aria-label="A run from before">
      <p>
        This browser keeps <b>{kept.name}</b>, a run of {presetText(kept.run).title} that was saved{" "}
        {ago(Date.now() - kept.keptAt)}. What came after step {kept.step.toLocaleString("en")} is lost.
      </p>
      <div class="buttons">
        <button type="button" id="resume" onClick={() => void resume(kept)}>
          Resume step {kept.step.toLocaleString("en")}
        </button>
        <button type="button" id="forget" onClick={() => void deleteRun(kept)}>
          Delete it
        </button>
      </div>
    </section>
  );
}

function ago(milliseconds: number): string {
  const minutes = Math.round(milliseconds / 60_000);
  if (minutes < 1) return "less than a minute ago";
  if (minutes < 60) return `${minutes} ${minutes === 1 ? "minute" : "minutes"} ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} ${hours === 1 ? "hour" : "hours"} ago` : `${Math.round(hours / 24)} days ago`;
}
