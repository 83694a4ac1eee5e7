/** What went wrong and what to do, above everything else; without WebGPU the help is the page. */
import type { Failure } from "../protocol.js";
import { openShipped, restart, resume } from "../state/client.js";
import { keptRuns } from "../state/kept_runs.js";
import { failure, lost, run, unsupported } from "../state/page_state.js";
import { webgpuHelp, type Help } from "./webgpu_help.js";

/** Text with what stands in backticks as code. */
function WithCode({ text }: { text: string }) {
  return <>{text.split("`").map((part, i) => (i % 2 === 0 ? part : <code key={i}>{part}</code>))}</>;
}

export function HelpWithoutWebGpu() {
  const { userAgent, maxTouchPoints } = navigator;
  const webgpu = "gpu" in navigator && navigator.gpu !== undefined;
  const surroundings = {
    userAgent,
    maxTouchPoints,
    secureContext: isSecureContext,
    webgpu,
    lost: lost.value,
  };
  return <Steps help={webgpuHelp(surroundings)} />;
}

function Steps({ help: { title, steps } }: { help: Help }) {
  return (
    <>
      <h2>{title}</h2>
      <ol>
        {steps.map((text) => (
          <li key={text}>
            <WithCode text={text} />
          </li>
        ))}
      </ol>
    </>
  );
}

function adviceOf({ code }: Failure): Help {
  switch (code) {
    case "device-lost":
      return {
        title: "The GPU went away",
        steps: [
          "Another program, a driver update or a power change can take it. The curves stay; so does the last checkpoint that this browser kept.",
          "Resume or start over opens the GPU again. If this repeats, close other pages that use the GPU, or restart the browser.",
        ],
      };
    case "config":
      return { title: "There can be no such model", steps: ["Change it under Options, or start over."] };
    case "diverged":
      return {
        title: "Training diverged",
        steps: ["Choose a lower learning rate or another seed under Options."],
      };
    case "file":
      return { title: "This file cannot go on", steps: ["Start over begins the run from zero."] };
    default:
      return {
        title: "Something went wrong",
        steps: ["Start over begins the run again. If this repeats, reload the page or update the browser."],
      };
  }
}

/** Opens the GPU again and begins the run from its first weights. */
export function startOver(): void {
  restart();
  void openShipped(null, run.value);
}

export function Alert() {
  const what = failure.value;
  if (!what) return null;
  const kept = keptRuns.value[0];
  const isLost = unsupported.value && lost.value;
  return (
    <section class="alert" id="alert" role="alert">
      {isLost ? <HelpWithoutWebGpu /> : <Steps help={adviceOf(what)} />}
      <p class="soft">{what.message}</p>
      <div class="buttons">
        {kept && (
          <button type="button" class="main" id="resume-failed" onClick={() => void resume(kept)}>
            Resume step {kept.step.toLocaleString("en")}
          </button>
        )}
        <button type="button" id="start-over" onClick={startOver}>
          Start over
        </button>
      </div>
    </section>
  );
}
