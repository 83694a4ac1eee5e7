/** What the benchmark page and its worker say to each other. */
import type { Ceilings } from "../../bench/core/ceilings.js";
import type { Omission, Report, ReportAdapter, Result } from "../../bench/core/report.js";

/** Starts a run; a worker runs once. */
export interface Start {
  readonly quick: boolean;
  readonly filter: string;
  /** Seed of the inputs. */
  readonly seed: number;
}

export type Message =
  | { readonly type: "adapter"; readonly adapter: ReportAdapter }
  | { readonly type: "progress"; readonly what: string; readonly done: number }
  | { readonly type: "ceilings"; readonly ceilings: Ceilings }
  | { readonly type: "result"; readonly result: Result }
  | { readonly type: "omission"; readonly omission: Omission; readonly wrong: boolean }
  | { readonly type: "report"; readonly report: Report }
  | { readonly type: "failure"; readonly message: string };
