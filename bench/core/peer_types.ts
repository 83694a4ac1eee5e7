/** The interfaces of a comparison: the operations that another library offers, its inputs and its results. */
import type { HrmConfig, StateDict, StepMetrics, TrainConfig } from "../../hrm/index.js";
import type { BlockStack } from "./block_stack.js";
import type { Buffers } from "./kernel_case.js";
import type { Sizes } from "./peer_cases.js";
import type { PeerWork } from "./peer_timing.js";
import type { Omission, PeerResult, Result } from "./report.js";

export interface PeerOperation extends PeerWork {
  /** The result of the last run. */
  read(): Promise<ArrayLike<number>>;
}

export interface PeerStep extends PeerWork {
  setLabels(labels: Int32Array): void;
  /** Restores the initial weights. */
  setWeights(): void;
  /** Loss of the last run, before its update. */
  loss(): Promise<number>;
  weights(): Promise<Record<string, ArrayLike<number>>>;
}

/** The metrics by which HRM's steps are compared. */
export type HrmMetrics = Pick<StepMetrics, "lm_loss" | "q_halt_loss" | "gradientNorm">;

export interface PeerHrmStep extends PeerWork {
  /** The metrics of the last run. */
  metrics(): Promise<HrmMetrics>;
}

/** An opened library. */
export interface Peer {
  /** Absent if only whole steps are asked for; null for an operation that the library does not have. */
  operation?(kind: string, spec: Sizes, data: Buffers): PeerOperation | null | Promise<PeerOperation | null>;
  /** Absent if the library does not train. */
  step?(
    spec: BlockStack & { learningRate: number },
    data: { x: Float32Array; labels: Int32Array; weights: Record<string, unknown> },
  ): PeerStep | Promise<PeerStep>;
  /** Absent if the library is not asked for it. */
  hrmStep?(
    spec: { config: HrmConfig; train: TrainConfig },
    data: { state: StateDict; inputs: Int32Array; labels: Int32Array },
  ): PeerHrmStep | Promise<PeerHrmStep>;
  /** Tolerance of a step's metrics, if the library computes them with another precision than f32. */
  readonly stepTolerance?: number;
  /** Largest relative rounding error of the library's precision, if that is not f32. */
  readonly rounding?: number;
}

/** A library with its version, or the reason why it is missing. */
export interface NamedPeer {
  readonly name: string;
  readonly peer: Peer | { readonly reason: string };
}

export interface PeerOptions {
  readonly quick: boolean;
  readonly budget: number;
  /** Seconds that a library may take for one answer: opening the work, its first run, or one sample. */
  readonly patience: number;
  readonly seed: number;
  /** True if the line is wanted. */
  wants(kernel: string, shape: string): boolean;
}

export interface PeerEvents {
  progress?(what: string): void;
  /** Reports one shape: our result first, then those of the peers that computed it. */
  compared?(ours: Result, peers: readonly PeerResult[]): void;
  omitted?(omission: Omission): void;
}

export interface PeerOutcome {
  readonly results: readonly Result[];
  readonly peers: readonly PeerResult[];
  readonly skipped: readonly Omission[];
  readonly refused: readonly Omission[];
}
