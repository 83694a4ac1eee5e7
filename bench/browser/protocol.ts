/** Messages between the command line and the page that it opens. */
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
  /** Null if only the suite runs. */
  readonly peers: {
    /** Null if the peers are not installed. */
    readonly pins: PeerPins | null;
    readonly torch: TorchGreeting | { readonly reason: string };
  } | null;
}

/** A report without its environment. */
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

/** Functions that the driver puts into the page. */
export interface Bridge {
  /** Hands a message to the command line. */
  postToDriver(message: Message): Promise<void>;
  /** Sends a request to PyTorch's process. A failure comes back as `error`, because a thrown error would lose its message. */
  askTorch(request: Record<string, unknown>): Promise<{ readonly error?: string }>;
  startBench(request: Request): void;
}
