/** Unpacks brotli-packed files of an npm package into a per-user cache. Checksums verify them; several processes may do so at once. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress, brotliDecompressSync } from "node:zlib";
import { CacheError, cacheFolder } from "./cache_folder.js";

/** A package found on disk. */
export interface PackageFolder {
  readonly folder: string;
  readonly version: string;
}

/** Finds an installed package from this module's place, then from the working directory; null if it is not installed. */
export async function findPackage(name: string): Promise<PackageFolder | null> {
  for (const from of [import.meta.url, join(process.cwd(), "anywhere.js")]) {
    let folder: string;
    try {
      folder = dirname(createRequire(from).resolve(name));
    } catch {
      continue;
    }
    // the resolved file lies somewhere inside; the package starts where its package.json names it
    for (; folder !== dirname(folder); folder = dirname(folder)) {
      const text = await readFile(join(folder, "package.json"), "utf8").catch(() => null);
      const manifest = text === null ? {} : (JSON.parse(text) as { name?: string; version?: string });
      if (manifest.name === name) return { folder, version: manifest.version ?? "0" };
    }
  }
  return null;
}

/** Regular files of a tar archive. It reads only ustar names, which suffices for these packages. */
function* tarFiles(tar: Buffer): Generator<{ path: string; mode: number; data: Buffer }> {
  const text = (at: number, length: number): string =>
    tar
      .toString("utf8", at, at + length)
      .replace(/\0.*$/s, "")
      .trim();
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0;) {
    const size = parseInt(text(at + 124, 12), 8) || 0;
    const type = text(at + 156, 1);
    const prefix = text(at + 257, 5) === "ustar" && text(at + 345, 155);
    const path = prefix ? `${prefix}/${text(at, 100)}` : text(at, 100);
    if (type === "" || type === "0") {
      if (at + 512 + size > tar.length) throw new CacheError(`an archive ends inside ${path}`);
      yield {
        path,
        mode: parseInt(text(at + 100, 8), 8) || 0o644,
        data: tar.subarray(at + 512, at + 512 + size),
      };
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

/** The file that records the unpacked files beside it. */
const MANIFEST = "unpacked.json";

/** The record of an unpacking: the package's files that it read, and the size and SHA-256 of each file it wrote, by path. */
interface Manifest {
  readonly packed: readonly string[];
  readonly files: Readonly<Record<string, { readonly size: number; readonly sha256: string }>>;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash);
  return hash.digest("hex");
}

/** Files whose checksum this process has verified, with their state at that time. */
const verified = new Map<string, string>();

/** True if the folder holds what `packed` was unpacked to, byte for byte. */
async function isWhole(folder: string, packed: readonly string[]): Promise<boolean> {
  try {
    const manifest = JSON.parse(await readFile(join(folder, MANIFEST), "utf8")) as Manifest;
    if (packed.join() !== manifest.packed.join()) return false;
    for (const [path, { size, sha256: expected }] of Object.entries(manifest.files)) {
      const file = join(folder, path);
      const found = await lstat(file);
      if (!found.isFile() || found.size !== size) return false;
      const state = [expected, found.ino, found.mtimeMs, found.ctimeMs].join();
      if (verified.get(file) === state) continue;
      if ((await sha256(file)) !== expected) return false;
      verified.set(file, state);
    }
    return true;
  } catch {
    // A file is missing or unreadable, or the manifest is malformed.
    return false;
  }
}

/** Unpacks files of a package into an empty folder, and writes their checksums beside them. */
async function unpack(source: PackageFolder, packed: readonly string[], folder: string): Promise<void> {
  const files: Record<string, { size: number; sha256: string }> = {};
  for (const name of packed) {
    const from = join(source.folder, name);
    if (name.endsWith(".tar.br")) {
      for (const { path, mode, data } of tarFiles(brotliDecompressSync(await readFile(from)))) {
        const to = join(folder, path);
        if (!to.startsWith(folder + sep)) throw new CacheError(`${from} holds the unsafe path ${path}`);
        await mkdir(dirname(to), { recursive: true });
        await writeFile(to, data);
        await chmod(to, mode & 0o755);
        files[path] = { size: data.length, sha256: createHash("sha256").update(data).digest("hex") };
      }
    } else {
      const path = name.replace(/^.*\//, "").replace(/\.br$/, "");
      const to = join(folder, path);
      await pipeline(
        createReadStream(from),
        createBrotliDecompress(),
        createWriteStream(to, { mode: 0o755 }),
      );
      files[path] = { size: (await lstat(to)).size, sha256: await sha256(to) };
    }
  }
  await writeFile(join(folder, MANIFEST), JSON.stringify({ packed, files } satisfies Manifest));
}

/** A folder that is being filled is younger than this. An older one was left by a process that was killed. */
const STALE_MS = 3_600_000;

async function removeStale(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const folder = join(cache, name);
    if (!name.includes(PARTIAL)) continue;
    const found = await lstat(folder).catch(() => null);
    if (found && Date.now() - found.mtimeMs > STALE_MS) await rm(folder, { recursive: true, force: true });
  }
}

const PARTIAL = ".partial-";

/** How often a damaged folder is moved away. Other processes may put their folder in its place meanwhile. */
const ATTEMPTS = 10;

/** Moves a filled folder to its place, and replaces a damaged folder there. */
async function moveInto(target: string, partial: string, packed: readonly string[]): Promise<void> {
  const damaged = `${partial}-damaged`;
  for (let attempt = 1; ; attempt++) {
    try {
      await rename(partial, target);
      return;
    } catch (error) {
      // Another process may have finished meanwhile.
      if (await isWhole(target, packed)) return;
      if (attempt === ATTEMPTS) throw error;
      await rename(target, damaged).catch((e: NodeJS.ErrnoException) => {
        if (e.code !== "ENOENT") throw e;
      });
      await rm(damaged, { recursive: true, force: true });
    }
  }
}

/**
 * Unpacks `files` (`*.tar.br` archives, or single `*.br` files, which become executable) of a package into
 * `<cache>/<name>-<version>`, and returns that folder. An existing folder is used if every file still has its size and
 * SHA-256, else it is replaced. Processes that unpack at the same time each fill a folder of their own and rename it; the
 * first to finish wins.
 * @throws CacheError if the package is damaged, or the cache cannot be written to
 */
export async function unpackOnce(
  name: string,
  source: PackageFolder,
  files: readonly string[],
  cache?: string,
): Promise<string> {
  const parent = cache ?? (await cacheFolder());
  const target = join(parent, `${name}-${source.version}`);
  if (await isWhole(target, files)) return target;
  let partial: string | null = null;
  try {
    await removeStale(parent);
    partial = await mkdtemp(`${target}${PARTIAL}`);
    await unpack(source, files, partial);
    await moveInto(target, partial, files);
    return target;
  } catch (cause) {
    if (cause instanceof CacheError) throw cause;
    const { code, path, message } = cause as NodeJS.ErrnoException;
    const ofPackage = path?.startsWith(source.folder) ?? /^(ERR_|Z_|ERR__ERROR)/.test(code ?? "");
    const advice = ofPackage
      ? "The package is damaged or of another version: install it again (npm ci)."
      : "Free space there, or set XDG_CACHE_HOME to a folder that can be written to.";
    throw new CacheError(`Cannot unpack ${source.folder} into ${target}: ${message}. ${advice}`, { cause });
  } finally {
    if (partial)
      for (const folder of [partial, `${partial}-damaged`])
        await rm(folder, { recursive: true, force: true });
  }
}
