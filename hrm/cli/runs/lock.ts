/**
 * A lock lets one process at a time work in a run's folder. The lock file identifies its process by number, start time and
 * boot of the machine, so that the lock of a killed process, or from before a crash of the machine, is recognised and taken over.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { ArgumentError } from "../../terminal/arguments.js";
import { codeOf, nodeFileSystem, readWhole, type FileSystem } from "../disk/file_system.js";
import { OutputError } from "../disk/output.js";

/** The process that holds a lock. */
export interface Holder {
  readonly pid: number;
  /** Start time of the process in the machine's count; null if unknown. A later process with the same number has another. */
  readonly started: string | null;
  readonly host: string;
  /** Identifier of the machine's boot; null if unknown. */
  readonly boot: string | null;
  /** Namespace of process numbers, which differs between containers; null if the machine has no namespaces. */
  readonly space: string | null;
  /** When the lock was taken, for messages. */
  readonly since: string;
}

/** What a machine knows about processes. */
export interface Machine {
  /** This process. */
  self(): Omit<Holder, "since">;
  /** Start time of a process; "" if unknown, null if there is no such process. */
  startOf(pid: number): string | null;
}

/** A lock that is held. */
export interface RunLock {
  /** Processes that ended without releasing their locks, which were taken over; null stands for a damaged lock. */
  readonly stale: readonly (Holder | null)[];
  release(): Promise<void>;
}

export interface LockOptions {
  readonly fs?: FileSystem;
  readonly machine?: Machine;
}

const LOCK = /^lock-.*\.json$/;
/** Number of tries if two processes ask at the same moment: both withdraw and try again after different delays. */
const TRIES = 4;
/** A lock younger than this many milliseconds may be withdrawn by its process. */
const SAME_MOMENT_MS = 5000;

/**
 * Locks a run's folder for this process.
 * @throws ArgumentError that names the process that holds the lock; OutputError if no file can be made in the folder
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
      // Each process writes its lock before it looks for others, so that at least one of two processes sees the other.
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

/**
 * The process that works in a folder, as far as this one can see; null if there is none, "unknown" if a lock cannot be read.
 * Changes nothing.
 */
export async function lockHolder(
  folder: string,
  { fs = nodeFileSystem, machine = thisMachine }: LockOptions = {},
): Promise<Holder | "unknown" | null> {
  const self = machine.self();
  const locks = await otherLocks(folder, "", fs);
  const held = locks.find(
    ({ holder }) => holder === "unknown" || (holder !== null && mayBeAlive(holder, self, machine)),
  );
  return held?.holder ?? null;
}

/** The lock of another process: `null` if the file is damaged (by a power cut, for example); `unknown` if it cannot be read. */
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
      // The lock was released in between.
      if (codeOf(error) !== "ENOENT") locks.push({ name, holder: "unknown" });
    }
  }
  return locks;
}

/** The content of a lock file; null if it is damaged. A lock file gets its name only when it is complete. */
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

/** False only if the holder has certainly ended. */
function mayBeAlive(holder: Holder, self: Omit<Holder, "since">, machine: Machine): boolean {
  if (holder.boot !== self.boot) return holder.host !== self.host;
  // If the boot is unknown, the host name decides. Processes of another container cannot be seen.
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

/** Writes a small file that gets its name when it is complete. A power cut may damage it; then no process holds the lock. */
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

/** The machine on which this process runs. Values that only Linux has are null or "" on other systems. */
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
      // The process name ends at the last bracket and may hold any character. The start time is the twentieth field after it.
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
