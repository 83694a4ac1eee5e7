/** Where bytes come from: a page's File or Blob, a URL; Node's paths are made sources by the command line. */
import { download, type DownloadLimits } from "./download.js";
import { SourceError } from "./source_error.js";

export { type DownloadLimits } from "./download.js";
export { SourceError } from "./source_error.js";

/** One file. */
export interface FileSource {
  readonly kind: "file";
  /** For messages, and its ending tells the format. */
  readonly name: string;
  /** @throws SourceError */
  read(): Promise<Uint8Array>;
}

/** Files by their path inside a folder. */
export interface FolderSource {
  readonly kind: "folder";
  readonly name: string;
  /** Null where there is no such file. @throws SourceError */
  read(path: string): Promise<Uint8Array | null>;
}

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
 * An address: a folder if it ends with "/" or "/dataset.json", else a file. `limits` bound each download: 1 GiB, five
 * redirects, and a minute in which too little arrives, unless they say otherwise.
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
