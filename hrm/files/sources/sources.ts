/** Sources of bytes: a File or Blob of a page, or a URL. The command line makes sources from paths. */
import { download, type DownloadLimits } from "./download.js";
import { SourceError } from "./source_error.js";

export { type DownloadLimits } from "./download.js";
export { SourceError } from "./source_error.js";

/** One file. */
export interface FileSource {
  /** Tells a file from a folder. */
  readonly kind: "file";
  /** Name for messages; its ending says the format. */
  readonly name: string;
  /** @throws SourceError */
  read(): Promise<Uint8Array>;
}

/** Files by their path inside a folder. */
export interface FolderSource {
  /** Tells a folder from a file. */
  readonly kind: "folder";
  /** Name for messages. */
  readonly name: string;
  /** Returns null if there is no such file. @throws SourceError */
  read(path: string): Promise<Uint8Array | null>;
}

/** Where bytes come from: a file, or a folder of files. */
export type Source = FileSource | FolderSource;

/** A file that a person chose or dropped. */
export function blobSource(blob: Blob, name = "name" in blob ? String(blob.name) : "the file"): FileSource {
  return {
    kind: "file",
    name,
    async read() {
      try {
        return new Uint8Array(await blob.arrayBuffer());
      } catch (error) {
        throw new SourceError(`cannot read ${name}: ${(error as Error).message}`, { cause: error });
      }
    },
  };
}

/** A folder that a person chose: files with `webkitRelativePath`, whose first part is the folder's own name. */
export function fileListSource(files: Iterable<File>): FolderSource {
  const byPath = new Map<string, File>();
  let name = "the folder";
  for (const file of files) {
    const [folder, ...path] = file.webkitRelativePath.split("/");
    if (folder) name = folder;
    byPath.set(path.join("/") || file.name, file);
  }
  return {
    kind: "folder",
    name,
    async read(path) {
      const file = byPath.get(path);
      return file ? blobSource(file, `${name}/${path}`).read() : null;
    },
  };
}

/**
 * The source at an address: a folder if the address ends with "/" or "/dataset.json", else a file. `limits` apply to each
 * download; the defaults are 1 GiB, five redirects, and a minute in which too few bytes arrive.
 */
export function urlSource(url: string | URL, limits: Partial<DownloadLimits> = {}): Source {
  const address = String(url);
  const folder = /^(.*\/)(?:dataset\.json)?$/.exec(address)?.[1];
  if (folder !== undefined && (address.endsWith("/") || address.endsWith("/dataset.json")))
    return { kind: "folder", name: folder.slice(0, -1), read: (path) => download(folder + path, limits) };
  return {
    kind: "file",
    name: address,
    async read() {
      const bytes = await download(address, limits);
      if (!bytes) throw new SourceError(`cannot read ${address}: there is no such file (404)`);
      return bytes;
    },
  };
}
