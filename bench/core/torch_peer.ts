/** PyTorch as a peer, in requests to a process that computes. */
import type { NamedPeer, Peer, PeerStep } from "./peer.js";

/** What the process says of itself. */
export interface TorchGreeting {
  readonly version: string;
  /** Ways of computing that this machine has; bf16 of 8 bits of mantissa has a tolerance of its own. */
  readonly modes: readonly {
    readonly name: string;
    readonly stepTolerance?: number;
    readonly matmul: boolean;
  }[];
}

type Packed = {
  readonly data: string;
  readonly shape: readonly number[];
  readonly dtype: "float32" | "int32";
};

/** A typed array as base64 of its bytes, little-endian. */
function packed(data: Float32Array | Int32Array, shape: readonly number[]): Packed {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const pieces: string[] = [];
  // As many arguments as every engine takes.
  for (let i = 0; i < bytes.length; i += 8192)
    pieces.push(String.fromCharCode(...bytes.subarray(i, i + 8192)));
  return { data: btoa(pieces.join("")), shape, dtype: data instanceof Int32Array ? "int32" : "float32" };
}

const unpacked = (text: string): Float32Array =>
  new Float32Array(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);

/** The process, or the way to it. */
export interface TorchProcess {
  readonly greeting: Promise<TorchGreeting>;
  ask<T = unknown>(request: Record<string, unknown>): Promise<T>;
}

/** One peer for each way in which PyTorch computes here, or the reason why there is none. */
export async function openTorch(process: TorchProcess): Promise<NamedPeer[]> {
  const greeting = await process.greeting.catch((error: Error) => error);
  if (greeting instanceof Error)
    return [{ name: "PyTorch", peer: { reason: greeting.message.slice(0, 200) } }];
  return greeting.modes.map(({ name, stepTolerance, matmul }) => ({
    name: `PyTorch ${greeting.version} ${name}`,
    peer: {
      ...(stepTolerance !== undefined && { stepTolerance }),
      ...(matmul && { operation: (kind, spec, data) => openMatmul(process, name, kind, spec, data) }),
      step: (spec, data) => openStep(process, name, spec, data),
    } satisfies Peer,
  }));
}

/** What every work has: runs are queued, so only `drain` is waited for. */
function work(process: TorchProcess, id: number) {
  const pending: Promise<unknown>[] = [];
  const ask = <T>(method: string, more: Record<string, unknown> = {}): Promise<T> =>
    process.ask<T>({ do: method, id, ...more });
  return {
    ask,
    run: async (): Promise<void> => void (await ask("run")),
    drain: async (): Promise<void> => {
      await Promise.all(pending.splice(0));
      await ask("drain");
    },
    dispose: (): void => void ask("dispose").catch(() => undefined),
    /** For calls whose answer is not waited for. */
    later: (answer: Promise<unknown>): void => void pending.push(answer),
  };
}

async function openMatmul(
  process: TorchProcess,
  mode: string,
  kind: string,
  spec: Readonly<Record<string, unknown>>,
  data: Readonly<Record<string, unknown>>,
) {
  if (kind !== "matmul") return null;
  const { layout, M, N, K } = spec as { layout: string; M: number; N: number; K: number };
  const { id } = await process.ask<{ id: number }>({
    do: "matmul",
    mode,
    layout,
    a: packed(data["a"] as Float32Array, layout === "tn" ? [K, M] : [M, K]),
    b: packed(data["b"] as Float32Array, layout === "nt" ? [N, K] : [K, N]),
  });
  const { ask, later: _, ...rest } = work(process, id);
  return { ...rest, read: async () => unpacked((await ask<{ data: string }>("read")).data) };
}

async function openStep(
  process: TorchProcess,
  mode: string,
  spec: Parameters<NonNullable<Peer["step"]>>[0],
  data: Parameters<NonNullable<Peer["step"]>>[1],
): Promise<PeerStep> {
  const { batch, length, width } = spec;
  const weights = Object.entries(data.weights as Record<string, { data: Float32Array; shape: number[] }>);
  const { id } = await process.ask<{ id: number }>({
    do: "step",
    mode,
    spec,
    x: packed(data.x, [batch, length, width]),
    labels: packed(data.labels, [batch, length]),
    weights: Object.fromEntries(weights.map(([name, w]) => [name, packed(w.data, w.shape)])),
  });
  const { ask, later, ...rest } = work(process, id);
  return {
    ...rest,
    setLabels: (labels) => later(ask("labels", { labels: packed(labels, [batch, length]) })),
    setWeights: () => later(ask("reset")),
    loss: async () => (await ask<{ loss: number }>("loss")).loss,
    async weights() {
      const answer = await ask<{ weights: Record<string, string> }>("weights");
      return Object.fromEntries(Object.entries(answer.weights).map(([name, text]) => [name, unpacked(text)]));
    },
  };
}
