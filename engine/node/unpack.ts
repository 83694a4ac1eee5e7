/** Unpacks brotli-packed files of an npm package into a per-user cache, safely beside other processes. */
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress, brotliDecompressSync } from "node:zlib";
import { cacheFolder } from "./cache_folder.js";

/** A package found on disk. */
export interface PackageFolder {
  readonly folder: string;
  readonly version: string;
}

/** Finds an installed package from this module's place, then from the working directory; null where it is not. */
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

/** Regular files of a tar archive (ustar names; what these packages need). */
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
      yield {
        path,
        mode: parseInt(text(at + 100, 8), 8) || 0o644,
        data: tar.subarray(at + 512, at + 512 + size),
      };
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

/**
 * Unpacks `files` (`*.tar.br` archives, or single `*.br` files, which become executable) of a package
 * into `<cache>/<name>-<version>` once, and returns that folder. Processes that unpack at the same time
 * each fill a folder of their own and rename it; the first to finish wins.
 */
export async function unpackOnce(
  name: string,
  source: PackageFolder,
  files: readonly string[],
): Promise<string> {
  const target = join(await cacheFolder(), `${name}-${source.version}`);
  if (existsSync(target)) return target;
  const partial = `${target}.${process.pid}-${Date.now()}.partial`;
  try {
    for (const file of files) {
      const packed = join(source.folder, file);
      await mkdir(partial, { recursive: true });
      if (file.endsWith(".tar.br")) {
        for (const { path, mode, data } of tarFiles(brotliDecompressSync(await readFile(packed)))) {
          const to = join(partial, path);
          if (!to.startsWith(partial)) throw new Error(`${packed} holds the unsafe path ${path}`);
          await mkdir(dirname(to), { recursive: true });
          await writeFile(to, data);
          await chmod(to, mode & 0o755);
        }
      } else {
        const to = join(partial, file.replace(/^.*\//, "").replace(/\.br$/, ""));
        await pipeline(
          createReadStream(packed),
          createBrotliDecompress(),
          createWriteStream(to, { mode: 0o755 }),
        );
      }
    }
    await rename(partial, target).catch((error: NodeJS.ErrnoException) => {
      if (!existsSync(target)) throw error;
    });
    return target;
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}
