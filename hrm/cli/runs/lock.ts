/**
 * One process at a time in a run's folder. A lock file names its process by number, start and boot of the machine, so
 * that the lock of a process that was killed, or of a machine that went down, is recognised and taken over.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { ArgumentError } from "../../../terminal/arguments.js";
import { codeOf, nodeFileSystem, readWhole, type FileSystem } from "../disk/file_system.js";
import { OutputError } from "../disk/output.js";

/** Who holds a lock. */
export interface Holder {
  readonly pid: number;
  /** When the process started, as the machine counts; null if it does not say. A later process of that number differs. */
  readonly started: string | null;
  readonly host: string;
  /** Changes whenever the machine starts; null if it does not say. */
  readonly boot: string | null;
  /** Space of process numbers, which containers have of their own; null if the machine knows none. */
  readonly space: string | null;
  /** Time of day, for people. */
  readonly since: string;
}

/** What a machine tells of processes. */
export interface Machine {
  /** This process. */
  self(): Omit<Holder, "since">;
  /** When a process started, "" if the machine does not say, null if there is no such process. */
  startOf(pid: number): string | null;
}

/** A lock that is held. */
export interface RunLock {
  /** Those whose locks were taken over, since they ended without giving them back; null for a damaged lock. */
  readonly stale: readonly (Holder | null)[];
  release(): Promise<void>;
}

export interface LockOptions {
  readonly fs?: FileSystem;
  readonly machine?: Machine;
}

const LOCK = /^lock-.*\.json$/;
/** Tries if two processes ask in the same moment: both step back, and ask again after different times. */
const TRIES = 4;
/** A lock younger than this may be stepped back from. */
const SAME_MOMENT_MS = 5000;

/**
 * Locks a run's folder for this process.
 * @throws ArgumentError naming who holds it; OutputError if no file can be made there
 */
export async function lockRun(
  folder: string,
  { fs = nodeFileSystem, machine = thisMachine }: LockOptions = {},
): Promise<RunLock> {
  for (let tries = 1; ; tries++) {
    const self = { ...machine.self(), since: new Date().toISOString() };
    const name = `lock-${self.pid}-${randomBytes(6).toString("hex")}.json`;
    const path = join(folder, name);
    try {
      await writeWhole(path, `${JSON.stringify(self)}\n`, fs);
      // Each process writes its lock before it looks for others, so of two at least one sees the other.
      const stale: (Holder | null)[] = [];
      let other: Found | undefined;
      for (const found of await otherLocks(folder, name, fs)) {
        if (found.holder === "unknown" || (found.holder && mayBeAlive(found.holder, self, machine)))
          other = found;
        else {
          await fs.remove(join(folder, found.name));
          stale.push(found.holder);
        }
      }
      if (!other) return { stale, release: () => fs.remove(path) };
      await fs.remove(path);
      if (tries === TRIES || !isFresh(other)) throw refusal(folder, other, self);
    } catch (error) {
      if (error instanceof ArgumentError) throw error;
      await fs.remove(path).catch(() => undefined);
      throw new OutputError(path, error);
    }
    await new Promise((done) => setTimeout(done, 20 + 200 * Math.random()));
  }
}

/** A lock of somebody else: `null` if the file is damaged, as after a power cut; `unknown` if it cannot be read. */
interface Found {
  readonly name: string;
  readonly holder: Holder | null | "unknown";
}

const isFresh = ({ holder }: Found): boolean =>
  holder !== null && holder !== "unknown" && Date.now() - Date.parse(holder.since) < SAME_MOMENT_MS;

async function otherLocks(folder: string, own: string, fs: FileSystem): Promise<Found[]> {
  const locks: Found[] = [];
  for (const name of await fs.list(folder)) {
    if (!LOCK.test(name) || name === own) continue;
    try {
      locks.push({ name, holder: holderOf(await readWhole(fs, join(folder, name))) });
    } catch (error) {
      // Given back meanwhile.
      if (codeOf(error) !== "ENOENT") locks.push({ name, holder: "unknown" });
    }
  }
  return locks;
}

/** What a lock file says, or null if it is damaged: locks get their names only when they are whole. */
function holderOf(bytes: Uint8Array): Holder | null {
  try {
    const { pid, started, host, boot, space, since } = Object(
      JSON.parse(new TextDecoder().decode(bytes)),
    ) as Record<keyof Holder, unknown>;
    const textOrNull = (value: unknown): value is string | null =>
      value === null || typeof value === "string";
    if (!Number.isSafeInteger(pid) || (pid as number) <= 0 || typeof host !== "string") return null;
    if (typeof since !== "string" || ![started, boot, space].every(textOrNull)) return null;
    return { pid, started, host, boot, space, since } as Holder;
  } catch {
    return null;
  }
}

/** False only if the holder is gone for sure. */
function mayBeAlive(holder: Holder, self: Omit<Holder, "since">, machine: Machine): boolean {
  if (holder.boot !== self.boot) return holder.host !== self.host;
  // Without a boot's name the host's must do; another container's processes cannot be seen.
  if ((self.boot === null && holder.host !== self.host) || holder.space !== self.space) return true;
  const started = machine.startOf(holder.pid);
  if (started === null) return false;
  return started === "" || holder.started === null || started === holder.started;
}

function refusal(folder: string, { name, holder }: Found, self: Holder): ArgumentError {
  const expected = "expected a run that no other process trains";
  if (holder === null || holder === "unknown")
    return new ArgumentError(`"${folder}": its lock ${name} cannot be read; ${expected}.`);
  const here = holder.host === self.host && holder.space === self.space;
  const where = here ? "" : ` on ${JSON.stringify(holder.host.slice(0, 60))}, which cannot be seen from here`;
  return new ArgumentError(
    `"${folder}": process ${holder.pid}${where} works in it since ${holder.since.slice(0, 24)}; ${expected}. ` +
      (here
        ? "Stop that process or wait for its end."
        : `Stop that process or wait for its end; if it is gone, remove ${join(folder, name)}.`),
  );
}

/** Writes a small file that has its name only when it is whole. A power cut may damage it, and then nobody holds it. */
async function writeWhole(path: string, text: string, fs: FileSystem): Promise<void> {
  const unfinished = `${path}.new`;
  try {
    const file = await fs.open(unfinished, "wx");
    try {
      await file.write(new TextEncoder().encode(text));
    } finally {
      await file.close();
    }
    await fs.rename(unfinished, path);
  } catch (error) {
    await fs.remove(unfinished).catch(() => undefined);
    throw error;
  }
}

/** The machine that this process runs on; what only Linux tells is null or "" elsewhere. */
export const thisMachine: Machine = {
  self() {
    return {
      pid: process.pid,
      started: this.startOf(process.pid) || null,
      host: hostname(),
      boot: attempt(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
      space: attempt(() => readlinkSync("/proc/self/ns/pid")),
    };
  },
  startOf(pid) {
    const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, "latin1"));
    if (stat !== null) {
      // The name before the last bracket may hold anything; behind it: state, ..., and start as the twentieth.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return fields[0] === "Z" || fields[0] === "X" ? null : fields[19]!;
    }
    try {
      process.kill(pid, 0);
      return "";
    } catch (error) {
      return codeOf(error) === "ESRCH" ? null : "";
    }
  },
};

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
