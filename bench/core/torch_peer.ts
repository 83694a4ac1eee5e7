/** PyTorch as a peer: requests to a Python process. */
import type { HrmMetrics, NamedPeer, Peer, PeerHrmStep, PeerStep } from "./peer_types.js";

/** The first message of the process. */
export interface TorchGreeting {
  readonly version: string;
  /** The modes of computing on this machine. bf16 has only 8 bits and therefore its own tolerances. */
  readonly modes: readonly ({ readonly name: string; readonly matmul: boolean } & Pick<
    Peer,
    "stepTolerance" | "rounding"
  >)[];
}

/** Numbers in a message: in base64, or in a file that the reader removes. */
type Packed = { readonly data: string } | { readonly file: string };

/** Files that both processes can read. */
export interface TorchFiles {
  /** @returns the path */
  write(bytes: Uint8Array): Promise<string>;
  /** Reads a file and removes it. */
  take(path: string): Promise<Uint8Array>;
}

/** The process, or a connection to it. */
export interface TorchProcess {
  readonly greeting: Promise<TorchGreeting>;
  /** Absent if only lines of text can pass. */
  readonly files?: TorchFiles;
  ask<T = unknown>(request: Record<string, unknown>): Promise<T>;
}

/** A typed array with its shape, little-endian. */
async function pack(
  { files }: TorchProcess,
  data: Float32Array | Int32Array,
  shape: readonly number[],
): Promise<Packed & { readonly shape: readonly number[]; readonly dtype: "float32" | "int32" }> {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const dtype = data instanceof Int32Array ? "int32" : "float32";
  return { ...(files ? { file: await files.write(bytes) } : { data: base64(bytes) }), shape, dtype };
}

function base64(bytes: Uint8Array): string {
  const pieces: string[] = [];
  // Every JavaScript engine accepts this many arguments.
  for (let i = 0; i < bytes.length; i += 8192)
    pieces.push(String.fromCharCode(...bytes.subarray(i, i + 8192)));
  return btoa(pieces.join(""));
}

async function unpack({ files }: TorchProcess, packed: Packed): Promise<Float32Array> {
  const bytes =
    "file" in packed
      ? await files!.take(packed.file)
      : Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** Tensors by name, one after the other. */
async function packAll(
  process: TorchProcess,
  tensors: Iterable<readonly [string, { readonly data: unknown; readonly shape: readonly number[] }]>,
): Promise<Record<string, unknown>> {
  const packed: Record<string, unknown> = {};
  for (const [name, { data, shape }] of tensors)
    packed[name] = await pack(process, data as Float32Array, shape);
  return packed;
}

/** One peer for each mode of PyTorch on this machine, or the reason why there is no peer. */
export async function openTorch(process: TorchProcess): Promise<NamedPeer[]> {
  const greeting = await process.greeting.catch((error: Error) => error);
  if (greeting instanceof Error)
    return [{ name: "PyTorch", peer: { reason: greeting.message.slice(0, 200) } }];
  return greeting.modes.map(({ name, matmul, ...precision }) => ({
    name: `PyTorch ${greeting.version} ${name}`,
    peer: {
      ...precision,
      ...(matmul && { operation: (kind, spec, data) => openMatmul(process, name, kind, spec, data) }),
      step: (spec, data) => openStep(process, name, spec, data),
      hrmStep: (spec, data) => openHrmStep(process, name, spec, data),
    } satisfies Peer,
  }));
}

/** The common part of every work: a run is answered as soon as it is queued, and `drain` when all runs are finished. */
function work(process: TorchProcess, id: number) {
  const pending: Promise<unknown>[] = [];
  const ask = <T>(method: string, more: Record<string, unknown> = {}): Promise<T> =>
    process.ask<T>({ do: method, id, ...more });
  return {
    ask,
    run: async (): Promise<void> => {
      if (pending.length > 0) await Promise.all(pending.splice(0));
      await ask("run");
    },
    drain: async (): Promise<void> => {
      await Promise.all(pending.splice(0));
      await ask("drain");
    },
    dispose: (): void => void ask("dispose").catch(() => undefined),
    /** Collects calls whose answers are awaited later. */
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
    a: await pack(process, data["a"] as Float32Array, layout === "tn" ? [K, M] : [M, K]),
    b: await pack(process, data["b"] as Float32Array, layout === "nt" ? [N, K] : [K, N]),
  });
  const { ask, later: _, ...rest } = work(process, id);
  return { ...rest, read: async () => unpack(process, (await ask<{ c: Packed }>("read")).c) };
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
    x: await pack(process, data.x, [batch, length, width]),
    labels: await pack(process, data.labels, [batch, length]),
    weights: await packAll(process, weights),
  });
  const { ask, later, ...rest } = work(process, id);
  const setLabels = async (labels: Int32Array): Promise<unknown> =>
    ask("labels", { labels: await pack(process, labels, [batch, length]) });
  return {
    ...rest,
    setLabels: (labels) => later(setLabels(labels)),
    setWeights: () => later(ask("reset")),
    loss: async () => (await ask<{ loss: number }>("loss")).loss,
    async weights() {
      const answer = await ask<{ weights: Record<string, Packed> }>("weights");
      const entries = Object.entries(answer.weights).map(
        async ([name, packed]) => [name, await unpack(process, packed)] as const,
      );
      return Object.fromEntries(await Promise.all(entries));
    },
  };
}

async function openHrmStep(
  process: TorchProcess,
  mode: string,
  { config, train }: Parameters<NonNullable<Peer["hrmStep"]>>[0],
  { state, inputs, labels }: Parameters<NonNullable<Peer["hrmStep"]>>[1],
): Promise<PeerHrmStep> {
  const batch = [config.batch_size, config.seq_len];
  const { id } = await process.ask<{ id: number }>({
    do: "hrm",
    mode,
    config,
    train,
    inputs: await pack(process, inputs, batch),
    labels: await pack(process, labels, batch),
    weights: await packAll(process, state),
  });
  const { ask, later: _, ...rest } = work(process, id);
  return { ...rest, metrics: () => ask<HrmMetrics>("metrics") };
}
