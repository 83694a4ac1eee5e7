/** Which libraries are peers, and how their modules in bench/peers are opened. */
import type { Peer } from "./peer_types.js";

export interface PeerEntry {
  readonly name: string;
  readonly package: string;
  /** In bench/peers. */
  readonly module: string;
  readonly options: { readonly device?: "webgpu" | "wasm" };
}

export const PEERS: readonly PeerEntry[] = [
  { name: "tfjs", package: "@tensorflow/tfjs", module: "tfjs.mjs", options: {} },
  { name: "jax-js", package: "@jax-js/jax", module: "jax.mjs", options: { device: "webgpu" } },
  { name: "onnxruntime-web", package: "onnxruntime-web", module: "ort.mjs", options: {} },
  { name: "jax-js wasm", package: "@jax-js/jax", module: "jax.mjs", options: { device: "wasm" } },
];

/** bench/peers/package.json. */
export interface PeerPins {
  readonly dependencies: Readonly<Record<string, string>>;
}

/** Name and version, which is pinned exactly. */
export const peerName = (peer: PeerEntry, { dependencies }: PeerPins): string =>
  `${peer.name} ${dependencies[peer.package] ?? "(no version)"}`;

/** A module of bench/peers. */
export interface PeerModule {
  /** @param options with `bytes`, which gives the content of a file below node_modules */
  open(
    options: PeerEntry["options"] & { readonly bytes: (path: string) => Promise<Uint8Array> },
  ): Promise<Peer>;
}
