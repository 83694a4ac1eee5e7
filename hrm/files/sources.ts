/** Where bytes come from: a page's File or Blob, a URL; Node's paths are made sources by the command line. */
import { EngineError } from "../../engine/errors.js";

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

/** Something that could not be read at all. */
export class SourceError extends EngineError {
  override readonly name = "SourceError";
  constructor(message: string, options?: ErrorOptions) {
    super("source", message, options);
  }
}

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

/** An address: a folder where it ends with "/" or "/dataset.json", else a file. */
export function urlSource(url: string | URL): Source {
  const address = String(url);
  const folder = /^(.*\/)(?:dataset\.json)?$/.exec(address)?.[1];
  if (folder !== undefined && (address.endsWith("/") || address.endsWith("/dataset.json")))
    return { kind: "folder", name: folder.slice(0, -1), read: (path) => fetched(folder + path) };
  return {
    kind: "file",
    name: address,
    async read() {
      const bytes = await fetched(address);
      if (!bytes) throw new SourceError(`cannot read ${address}: there is no such file (404)`);
      return bytes;
    },
  };
}

/** The bytes at an address; null where the server has no such file. */
async function fetched(address: string): Promise<Uint8Array | null> {
  let response: Response;
  try {
    response = await fetch(address);
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw new SourceError(`cannot read ${address}: ${(error as Error).message}`, { cause: error });
  }
  if (response.status === 404) return null;
  throw new SourceError(`cannot read ${address}: the server answers ${response.status}`);
}
