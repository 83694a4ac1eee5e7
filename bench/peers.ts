/** Opens the peers under Node, on the driver of the adapter that was chosen. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Device } from "../engine/index.js";
import { installBrowserGlobals } from "./browser_globals.js";
import type { NamedPeer } from "./core/peer_types.js";
import { peerName, PEERS, type PeerModule, type PeerPins } from "./core/peer_list.js";
import { openTorch } from "./core/torch_peer.js";
import { startTorch } from "./torch.js";

/** Folder bench/peers, from build/bench/main.js. */
const folder = join(dirname(fileURLToPath(import.meta.url)), "../../bench/peers");

/** Opens every peer on an adapter of the same driver as `device`. A peer that cannot be opened comes with the reason. */
export async function openPeers(device: Device): Promise<NamedPeer[]> {
  return [
    ...(await openLibraries(device)),
    ...(await openTorch(startTorch(join(folder, "torch_peer.py"), { files: true }))),
  ];
}

async function openLibraries(device: Device): Promise<NamedPeer[]> {
  if (!existsSync(join(folder, "node_modules"))) {
    const reason = "not installed; run: npm ci --ignore-scripts --prefix bench/peers";
    return PEERS.map(({ name }) => ({ name, peer: { reason } }));
  }
  const pins = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as PeerPins;
  await installBrowserGlobals(device);
  const opened: NamedPeer[] = [];
  for (const peer of PEERS) {
    const name = peerName(peer, pins);
    try {
      const module = (await import(pathToFileURL(join(folder, peer.module)).href)) as PeerModule;
      const bytes = async (path: string): Promise<Uint8Array> => readFile(join(folder, "node_modules", path));
      opened.push({ name, peer: await module.open({ ...peer.options, bytes }) });
    } catch (error) {
      opened.push({ name, peer: { reason: String((error as Error).message ?? error) } });
    }
  }
  return opened;
}
