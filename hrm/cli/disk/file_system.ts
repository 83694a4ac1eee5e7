/**
 * The file system as an interface, so that tests can record the calls, make each of them fail, and simulate a power cut
 * between any two.
 */
import { lstat, mkdir, open, readdir, readlink, rename, rm, stat } from "node:fs/promises";

/** Status of a path. */
export interface FileStatus {
  readonly kind: "file" | "folder" | "link" | "other";
  /** Size in bytes. */
  readonly size: number;
  /** The nine permission bits of owner, group and others. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** An open file. */
export interface OpenFile {
  /** Reads `length` bytes from `position`, or fewer at the end of the file. */
  read(position: number, length: number): Promise<Uint8Array>;
  /** Writes all bytes after the bytes written before, or at the end of a file that was opened to append. */
  write(bytes: Uint8Array): Promise<void>;
  truncate(size: number): Promise<void>;
  setMode(mode: number): Promise<void>;
  setOwner(uid: number, gid: number): Promise<void>;
  /** Resolves when the content is on the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Modes: read; read and change; make a new file (an error if the name is taken); overwrite; append. */
export type OpenMode = "r" | "r+" | "wx" | "w" | "a";

/** The calls. Each throws errors with Node's codes, such as ENOENT. */
export interface FileSystem {
  open(path: string, how: OpenMode, mode?: number): Promise<OpenFile>;
  /** Follows links. */
  status(path: string): Promise<FileStatus>;
  /** Does not follow a link. */
  linkStatus(path: string): Promise<FileStatus>;
  readLink(path: string): Promise<string>;
  list(folder: string): Promise<string[]>;
  /** Makes one folder, whose parent must exist. */
  makeFolder(path: string): Promise<void>;
  /** Replaces `to`. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file. A missing file is not an error. */
  remove(path: string): Promise<void>;
  /** Resolves when the names in the folder are on the disk. Does nothing on Windows, which cannot sync folders. */
  syncFolder(path: string): Promise<void>;
}

interface NodeStatus {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

function statusOf(s: NodeStatus): FileStatus {
  const kind = s.isFile() ? "file" : s.isDirectory() ? "folder" : s.isSymbolicLink() ? "link" : "other";
  return { kind, size: s.size, mode: s.mode & 0o777, uid: s.uid, gid: s.gid };
}

/** Bytes of one read, since Node reads less than 2 GiB at once. */
const MOST_AT_ONCE = 2 ** 30;

/** The file system of this machine. */
export const nodeFileSystem: FileSystem = {
  async open(path, how, mode = 0o666) {
    const file = await open(path, how, mode);
    return {
      async read(position, length) {
        const bytes = new Uint8Array(length);
        let filled = 0;
        while (filled < length) {
          const count = Math.min(length - filled, MOST_AT_ONCE);
          const { bytesRead } = await file.read(bytes, filled, count, position + filled);
          if (bytesRead === 0) break;
          filled += bytesRead;
        }
        return bytes.subarray(0, filled);
      },
      write: (bytes) => file.writeFile(bytes),
      truncate: (size) => file.truncate(size),
      setMode: (to) => file.chmod(to),
      setOwner: (uid, gid) => file.chown(uid, gid),
      sync: () => file.sync(),
      close: () => file.close(),
    };
  },
  status: async (path) => statusOf(await stat(path)),
  linkStatus: async (path) => statusOf(await lstat(path)),
  readLink: (path) => readlink(path),
  list: (folder) => readdir(folder),
  makeFolder: (path) => mkdir(path),
  rename: (from, to) => rename(from, to),
  remove: (path) => rm(path, { force: true }),
  async syncFolder(path) {
    if (process.platform === "win32") return;
    const handle = await open(path, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};

/** The code of a file system's error, such as ENOENT; empty for any other error. */
export const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? "";

/** Reads all bytes of a file. @throws Error if the path is not a file, for example a pipe */
export async function readWhole(fs: FileSystem, path: string): Promise<Uint8Array> {
  const { kind, size } = await fs.status(path);
  if (kind !== "file") throw new Error("it is not a file");
  const file = await fs.open(path, "r");
  try {
    return await file.read(0, size);
  } finally {
    await file.close();
  }
}
