/** The page of `npm run bench -- --browser`: runs the suite, or the peers beside this project, and reports to the driver. */
import { openDevice, type Device } from "../../engine/index.js";
import { reportAdapter } from "../core/adapter.js";
import { kernelCases } from "../core/cases/index.js";
import { trainingSteps } from "../core/cases/steps.js";
import { measureCeilings } from "../core/ceilings.js";
import { runPeers } from "../core/peer.js";
import type { NamedPeer } from "../core/peer_types.js";
import { peerName, PEERS, type PeerModule } from "../core/peer_list.js";
import { FULL_EFFORT, QUICK_EFFORT } from "../core/sampling.js";
import { createStopwatch } from "../../engine/stopwatch.js";
import { filtered, runSuite } from "../core/suite.js";
import { openTorch } from "../core/torch_peer.js";
import type { Bridge, Message, Outcome, Request } from "./protocol.js";

const bridge = globalThis as unknown as Bridge;
const post = (message: Message): void => void bridge.postToDriver(message);

async function run(request: Request): Promise<void> {
  const device = await openDevice();
  try {
    post({ type: "adapter", adapter: reportAdapter(device) });
    const outcome = request.peers
      ? await comparePeers(device, request, request.peers)
      : await measureSuite(device, request);
    post({ type: "outcome", outcome });
  } finally {
    device.destroy();
  }
}

async function measureSuite(device: Device, request: Request): Promise<Outcome> {
  const wanted = <T extends { quick: boolean; kernel: string; shape: string }>(all: readonly T[]): T[] =>
    filtered(
      all.filter((one) => one.quick || !request.quick),
      request.filter,
    );
  const outcome = await runSuite(
    device,
    { ...request, cases: wanted(kernelCases), steps: wanted(trainingSteps) },
    {
      progress: (what, done) => post({ type: "progress", what, done }),
      ceilings: (ceilings) => post({ type: "ceilings", ceilings }),
      result: (result) => post({ type: "result", result }),
      refused: (omission) => post({ type: "refused", omission }),
    },
  );
  return { ...outcome, peers: [] };
}

async function comparePeers(
  device: Device,
  request: Request,
  peers: NonNullable<Request["peers"]>,
): Promise<Outcome> {
  const stopwatch = createStopwatch(device);
  const ceilings = await measureCeilings(device, stopwatch, request.quick ? QUICK_EFFORT : FULL_EFFORT);
  stopwatch.destroy();
  post({ type: "ceilings", ceilings });
  const outcome = await runPeers(
    device,
    await openPeers(peers),
    ceilings,
    {
      ...request,
      wants: (kernel, shape) => filtered([{ kernel, shape }], request.filter).length > 0,
    },
    {
      progress: (what) => post({ type: "progress", what, done: 0 }),
      compared: (ours, theirs) => post({ type: "compared", ours, peers: theirs }),
    },
  );
  return { ceilings, ...outcome };
}

async function openPeers({ pins, torch }: NonNullable<Request["peers"]>): Promise<NamedPeer[]> {
  const opened: NamedPeer[] = [];
  for (const entry of PEERS) {
    const name = pins ? peerName(entry, pins) : entry.name;
    try {
      if (!pins) throw new Error("not installed; run: npm ci --ignore-scripts --prefix bench/peers");
      const url = `/${entry.module.replace(/\.mjs$/, ".js")}`;
      const module = (await import(url)) as PeerModule;
      opened.push({ name, peer: await module.open({ ...entry.options, bytes: fetchBytes }) });
    } catch (error) {
      opened.push({ name, peer: { reason: String((error as Error).message ?? error) } });
    }
  }
  const greeting = "reason" in torch ? Promise.reject(new Error(torch.reason)) : Promise.resolve(torch);
  const ask = async <T>(question: Record<string, unknown>): Promise<T> => {
    const answer = await bridge.askTorch(question);
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer as T;
  };
  return [...opened, ...(await openTorch({ greeting, ask }))];
}

/** A file below bench/peers/node_modules. */
async function fetchBytes(path: string): Promise<Uint8Array> {
  const response = await fetch(`/node_modules/${path}`);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

bridge.startBench = (request) => {
  run(request).catch((error: unknown) => {
    post({ type: "failure", message: String((error as Error).message ?? error) });
  });
};
