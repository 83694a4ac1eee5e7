/** The module worker: opens the device and runs the same suite as `npm run bench`. */
import { openDevice } from "../../engine/index.js";
import { reportAdapter } from "../../bench/core/adapter.js";
import { kernelCases } from "../../bench/core/cases/index.js";
import { trainingSteps } from "../../bench/core/cases/steps.js";
import { REPORT_VERSION } from "../../bench/core/report.js";
import { BUDGET, filtered, runSuite } from "../../bench/core/suite.js";
import type { Message, Start } from "./protocol.js";

/** Commit of the sources, put in by the build; empty where that knows none. */
declare const BUILD_COMMIT: string;

const scope = globalThis as unknown as {
  postMessage(message: Message): void;
  onmessage: ((event: MessageEvent<Start>) => void) | null;
};

async function run({ quick, filter, seed }: Start): Promise<void> {
  const device = await openDevice();
  try {
    const adapter = reportAdapter(device);
    scope.postMessage({ type: "adapter", adapter });
    const outcome = await runSuite(
      device,
      {
        quick,
        seed,
        variants: false,
        budget: quick ? BUDGET.quick : BUDGET.full,
        cases: filtered(
          kernelCases.filter((c) => c.quick || !quick),
          filter,
        ),
        steps: filtered(
          trainingSteps.filter((s) => s.quick || !quick),
          filter,
        ),
      },
      {
        progress: (what, done) => scope.postMessage({ type: "progress", what, done }),
        ceilings: (ceilings) => scope.postMessage({ type: "ceilings", ceilings }),
        result: (result) => scope.postMessage({ type: "result", result }),
        skipped: (omission) => scope.postMessage({ type: "omission", omission, wrong: false }),
        refused: (omission) => scope.postMessage({ type: "omission", omission, wrong: true }),
      },
    );
    const environment = {
      date: new Date().toISOString(),
      commit: BUILD_COMMIT,
      runtime: navigator.userAgent,
      webgpu: "the browser's own",
      system: navigator.platform,
      processors: navigator.hardwareConcurrency,
      flags: [...(quick ? ["--quick"] : []), ...(filter ? ["--filter", filter] : [])],
      seed,
    };
    scope.postMessage({
      type: "report",
      report: { version: REPORT_VERSION, adapter, environment, ...outcome, peers: [] },
    });
  } finally {
    device.destroy();
  }
}

scope.onmessage = ({ data }) => {
  run(data).catch((error: unknown) => {
    scope.postMessage({ type: "failure", message: String((error as Error).message ?? error) });
  });
};
