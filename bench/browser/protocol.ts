/** What the command line and the page that it opens say to each other. */
import type { Ceilings } from "../core/ceilings.js";
import type { PeerPins } from "../core/peer_list.js";
import type { Omission, PeerResult, ReportAdapter, Result } from "../core/report.js";
import type { TorchGreeting } from "../core/torch_peer.js";

export interface Request {
  readonly quick: boolean;
  readonly filter: string;
  readonly variants: boolean;
  readonly budget: number;
  readonly patience: number;
  readonly seed: number;
  /** Null for the suite alone. */
  readonly peers: {
    /** Null where they are not installed. */
    readonly pins: PeerPins | null;
    readonly torch: TorchGreeting | { readonly reason: string };
  } | null;
}

/** All of a report but where it was made. */
export interface Outcome {
  readonly ceilings: Ceilings;
  readonly results: readonly Result[];
  readonly peers: readonly PeerResult[];
  readonly skipped: readonly Omission[];
  readonly refused: readonly Omission[];
}

export type Message =
  | { readonly type: "adapter"; readonly adapter: ReportAdapter }
  | { readonly type: "progress"; readonly what: string; readonly done: number }
  | { readonly type: "ceilings"; readonly ceilings: Ceilings }
  | { readonly type: "result"; readonly result: Result }
  | { readonly type: "compared"; readonly ours: Result; readonly peers: readonly PeerResult[] }
  | { readonly type: "refused"; readonly omission: Omission }
  | { readonly type: "outcome"; readonly outcome: Outcome }
  | { readonly type: "failure"; readonly message: string };

/** What the driver puts into the page, and the page gives to the driver. */
export interface Bridge {
  /** Hands a message to the command line. */
  postToDriver(message: Message): Promise<void>;
  /** A request to PyTorch's process; a failure as `error`, since thrown ones lose their message on the way. */
  askTorch(request: Record<string, unknown>): Promise<{ readonly error?: string }>;
  startBench(request: Request): void;
}
