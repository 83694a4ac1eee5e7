/** PyTorch as a peer: a Python process that keeps tensors and answers one line of JSON with another. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Peer, PeerStep } from "./core/peer.js";
import type { NamedPeer } from "./core/peer.js";

/** What the process says of itself. */
interface Greeting {
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
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return { data: bytes.toString("base64"), shape, dtype: data instanceof Int32Array ? "int32" : "float32" };
}

function unpacked(text: string): Float32Array {
  const bytes = Buffer.from(text, "base64");
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** Starts the script with the interpreter of the environment variable PYTHON, or python3. */
function start(script: string) {
  const python = process.env["PYTHON"] || "python3";
  const child = spawn(python, [script], { stdio: ["pipe", "pipe", "pipe"] });
  child.unref();
  const waiting: { resolve: (line: unknown) => void; reject: (error: Error) => void }[] = [];
  let errors = "";
  child.stderr.on("data", (text: Buffer) => {
    errors = (errors + text.toString()).slice(-2000);
  });
  const fail = (why: string): void => {
    for (const { reject } of waiting.splice(0)) reject(new Error(why));
  };
  child.on("error", (error) => fail(`${python}: ${error.message}`));
  child.on("close", (code) => fail(errors.trim().split("\n").at(-1) || `${python} ended with code ${code}`));
  child.stdin.on("error", () => undefined);
  createInterface({ input: child.stdout }).on("line", (line) => {
    const answer = JSON.parse(line) as { error?: string };
    const { resolve, reject } = waiting.shift()!;
    if (answer.error === undefined) resolve(answer);
    else reject(new Error(answer.error));
  });
  const answer = <T>(): Promise<T> =>
    new Promise((resolve, reject) => {
      if (child.exitCode !== null) reject(new Error("the process has ended"));
      else waiting.push({ resolve: resolve as (line: unknown) => void, reject });
    });
  return {
    greeting: answer<Greeting>(),
    ask<T = unknown>(request: Record<string, unknown>): Promise<T> {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      return answer<T>();
    },
  };
}

/** One peer for each way in which PyTorch computes here, or the reason why there is none. */
export async function openTorch(script: string): Promise<NamedPeer[]> {
  const process = start(script);
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

type Process = ReturnType<typeof start>;

/** What every work has: runs are queued, so only `drain` is waited for. */
function work(process: Process, id: number) {
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
  process: Process,
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
  process: Process,
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
