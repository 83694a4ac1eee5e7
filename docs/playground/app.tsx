/** The page, from top to bottom. */
import { adapter, notice, unsupported, failure, lost } from "./state/page_state.js";
import { openFile } from "./state/files.js";
import { WhyItWorks } from "./figures/why.js";
import { Alert, HelpWithoutWebGpu } from "./views/alert.js";
import { Later } from "./views/later.js";
import { Options } from "./views/options.js";
import { Recording } from "./views/recording.js";
import { ResumeOffer } from "./views/resume.js";
import { BottomBar } from "./views/start.js";
import { Runs } from "./runs/runs.js";
import { Watch } from "./views/watch.js";
import { WhichPuzzles } from "./views/which_puzzles.js";

/** Opens a file that was dropped on the page. */
async function drop(event: DragEvent): Promise<void> {
  event.preventDefault();
  const file = event.dataTransfer?.files[0];
  if (file) await openFile(file);
}

/** Goes to a part of the page. The address holds the run, so that a plain link would lose it. */
function GoTo({ id, children }: { id: string; children: string }) {
  return (
    <button type="button" onClick={() => document.getElementById(id)?.scrollIntoView({ behavior: "smooth" })}>
      {children}
    </button>
  );
}

export function App() {
  if (unsupported.value && !lost.value)
    return (
      <main class="unsupported">
        <h1>Watch a small AI think</h1>
        <section class="alert" id="alert">
          <HelpWithoutWebGpu />
          {failure.value && <p class="soft">{failure.value.message}</p>}
        </section>
        <Recording />
      </main>
    );
  return (
    <div class="page" onDragOver={(event) => event.preventDefault()} onDrop={(event) => void drop(event)}>
      <header>
        <h1>Watch a small AI think</h1>
        <nav aria-label="Parts of the page">
          <GoTo id="watch">Watch</GoTo>
          <GoTo id="training">Train</GoTo>
          <GoTo id="why">Why it works</GoTo>
          <GoTo id="lab">Lab</GoTo>
          <GoTo id="engine">Engine</GoTo>
        </nav>
      </header>
      <main>
        <Alert />
        <ResumeOffer />
        {notice.value && (
          <p class="notice" id="notice" role="status">
            {notice.value}{" "}
            <button type="button" onClick={() => (notice.value = null)}>
              Close
            </button>
          </p>
        )}
        <WhichPuzzles />
        <Watch />
        <Runs />
        <WhyItWorks />
        <Later id="lab" title="Lab" load={async () => (await import("./lab/lab.js")).Lab} />
        <Later
          id="engine"
          title="Engine"
          load={async () => (await import("./engine/engine.js")).EnginePart}
        />
      </main>
      <footer>
        <p>
          Your own device trains and runs the models of this page. The page reaches its graphics processor
          (GPU) through WebGPU, a part of the browser. Nothing that you enter leaves your device.
        </p>
        <p id="adapter">
          {adapter.value
            ? `This page computes on ${[adapter.value.name, adapter.value.products].filter(Boolean).join("; ")}.${
                adapter.value.software
                  ? " This is a software adapter: the main processor does the work of a GPU, so that training takes minutes and not seconds."
                  : ""
              }`
            : "Opening the GPU…"}
        </p>
        <p>
          <label class="file">
            Open a checkpoint, which is a file with a trained model: one of this project, a safetensors file,
            or an official PyTorch file. You can also drop it on the page.{" "}
            <input
              type="file"
              id="file"
              onChange={(event) => {
                const file = event.currentTarget.files?.[0];
                if (file) void openFile(file);
              }}
            />
          </label>
        </p>
      </footer>
      <BottomBar />
      <Options />
    </div>
  );
}
