/**
 * A file system in memory that fails on purpose. It records its calls, can fail the n-th of them, and knows after each
 * call what a power cut would leave: what was not synced may be there, missing, empty or torn.
 */
import { dirname } from "node:path";
import type { FileStatus, FileSystem, OpenFile } from "../../hrm/cli/disk/file_system.js";

/** How a power cut treats data that was not synced. */
export type Loss =
  /** Names and contents as they were at the last sync. */
  | "all"
  /** Names are on the disk, contents as they were at the last sync: a file that was never synced is empty. */
  | "contents"
  /** Names are on the disk, half of what was not synced, and zeros for the rest. */
  | "torn"
  /** Contents are on the disk, names as they were at the last sync. */
  | "names"
  /** Nothing is lost: the process was killed, the machine was not. */
  | "nothing";

export const LOSSES: readonly Loss[] = ["all", "contents", "torn", "names", "nothing"];

interface Inode {
  content: Uint8Array;
  synced: Uint8Array;
  mode: number;
}

type Node = Inode | "folder";

/** Thrown by the call that was to fail. */
const fault = (code: string): Error => Object.assign(new Error(`planted: ${code}`), { code });

const none = (): Uint8Array => new Uint8Array(0);

export class TestFileSystem implements FileSystem {
  /** Every call so far, such as `rename a b`. */
  readonly calls: string[] = [];
  /** Fails the call with this number, counted from 0, and all later calls if `forGood`. */
  failAt: { readonly call: number; readonly code: string; readonly forGood?: boolean } | null = null;
  /** Runs after each call. */
  afterCall: () => void = () => {};
  #names = new Map<string, Node>([["/", "folder"]]);
  #syncedNames = new Map<string, Node>([["/", "folder"]]);

  /** A disk with these files, all of them synced; folders are made as needed. */
  static of(files: Readonly<Record<string, Uint8Array | string>>): TestFileSystem {
    const fs = new TestFileSystem();
    for (const [path, content] of Object.entries(files)) {
      for (let above = dirname(path); above !== "/"; above = dirname(above)) fs.#names.set(above, "folder");
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      fs.#names.set(path, { content: bytes, synced: bytes, mode: 0o644 });
    }
    fs.#syncedNames = new Map(fs.#names);
    return fs;
  }

  /** The disk as it may be found after the power is cut now. */
  afterPowerCut(loss: Loss): TestFileSystem {
    const fs = new TestFileSystem();
    const names = loss === "all" || loss === "names" ? this.#syncedNames : this.#names;
    for (const [path, node] of names) {
      if (node === "folder") fs.#names.set(path, node);
      else {
        const content = lost(node, loss);
        fs.#names.set(path, { content, synced: content, mode: node.mode });
      }
    }
    // What stands in a folder whose own name was lost is lost as well.
    for (const path of fs.#names.keys())
      for (let above = dirname(path); above !== "/"; above = dirname(above))
        if (!fs.#names.has(above)) fs.#names.delete(path);
    fs.#syncedNames = new Map(fs.#names);
    return fs;
  }

  /** A file's content now, or undefined. */
  contentOf(path: string): Uint8Array | undefined {
    const node = this.#names.get(path);
    return node === "folder" ? undefined : node?.content;
  }

  /** Paths of all files. */
  files(): string[] {
    return [...this.#names].flatMap(([path, node]) => (node === "folder" ? [] : [path])).sort();
  }

  #called(call: string): void {
    const number = this.calls.push(call) - 1;
    const { failAt } = this;
    if (failAt && (number === failAt.call || (failAt.forGood && number > failAt.call)))
      throw fault(failAt.code);
  }

  async #call<T>(call: string, work: () => T): Promise<T> {
    await Promise.resolve();
    this.#called(call);
    const result = work();
    this.afterCall();
    return result;
  }

  #find(path: string): Node {
    const node = this.#names.get(path);
    if (node === undefined) throw fault("ENOENT");
    return node;
  }

  #requireFolder(path: string): void {
    if (this.#find(path) !== "folder") throw fault("ENOTDIR");
  }

  open(path: string, how: "r" | "r+" | "wx" | "w" | "a", mode = 0o666): Promise<OpenFile> {
    return this.#call(`open ${how} ${path}`, () => {
      this.#requireFolder(dirname(path));
      const there = this.#names.get(path);
      if (there === "folder") throw fault("EISDIR");
      if (there && how === "wx") throw fault("EEXIST");
      if (!there && (how === "r" || how === "r+")) throw fault("ENOENT");
      const inode = there ?? { content: none(), synced: none(), mode: mode & ~0o022 };
      if (how === "w") inode.content = none();
      this.#names.set(path, inode);
      return this.#openFile(path, inode, how === "a");
    });
  }

  #openFile(path: string, inode: Inode, append: boolean): OpenFile {
    let at = 0;
    return {
      read: (position, length) =>
        this.#call(`read ${path}`, () => inode.content.slice(position, position + length)),
      // Two calls, so that a power cut or a failure can come between.
      write: async (bytes) => {
        const half = Math.ceil(bytes.length / 2);
        for (const part of [bytes.subarray(0, half), bytes.subarray(half)])
          await this.#call(`write ${path}`, () => {
            const start = append ? inode.content.length : at;
            const content = new Uint8Array(Math.max(inode.content.length, start + part.length));
            content.set(inode.content);
            content.set(part, start);
            inode.content = content;
            at = start + part.length;
          });
      },
      truncate: (size) =>
        this.#call(`truncate ${path}`, () => void (inode.content = inode.content.slice(0, size))),
      setMode: (mode) => this.#call(`setMode ${path}`, () => void (inode.mode = mode)),
      setOwner: () => this.#call(`setOwner ${path}`, () => undefined),
      sync: () => this.#call(`sync ${path}`, () => void (inode.synced = inode.content)),
      close: () => Promise.resolve(),
    };
  }

  status(path: string): Promise<FileStatus> {
    return this.#call(`status ${path}`, () => {
      const node = this.#find(path);
      const owner = { uid: 1, gid: 1 };
      return node === "folder"
        ? { kind: "folder", size: 0, mode: 0o755, ...owner }
        : { kind: "file", size: node.content.length, mode: node.mode, ...owner };
    });
  }

  linkStatus(path: string): Promise<FileStatus> {
    return this.status(path);
  }

  readLink(): Promise<string> {
    return Promise.reject(fault("EINVAL"));
  }

  list(folder: string): Promise<string[]> {
    return this.#call(`list ${folder}`, () => {
      this.#requireFolder(folder);
      return [...this.#names.keys()]
        .filter((path) => path !== "/" && dirname(path) === folder)
        .map((path) => path.slice(path.lastIndexOf("/") + 1));
    });
  }

  makeFolder(path: string): Promise<void> {
    return this.#call(`makeFolder ${path}`, () => {
      this.#requireFolder(dirname(path));
      if (this.#names.has(path)) throw fault("EEXIST");
      this.#names.set(path, "folder");
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#call(`rename ${from} ${to}`, () => {
      this.#names.set(to, this.#find(from));
      this.#names.delete(from);
    });
  }

  remove(path: string): Promise<void> {
    return this.#call(`remove ${path}`, () => void this.#names.delete(path));
  }

  syncFolder(path: string): Promise<void> {
    return this.#call(`syncFolder ${path}`, () => {
      this.#requireFolder(path);
      for (const name of [...this.#syncedNames.keys()])
        if (name !== "/" && dirname(name) === path) this.#syncedNames.delete(name);
      for (const [name, node] of this.#names)
        if (name !== "/" && dirname(name) === path) this.#syncedNames.set(name, node);
    });
  }
}

function lost(file: Inode, loss: Loss): Uint8Array {
  if (file.content === file.synced || loss === "nothing" || loss === "names") return file.content;
  if (loss !== "torn") return file.synced;
  const torn = file.content.slice();
  // An appended file may lose only its new bytes.
  const kept = file.synced.every((byte, i) => byte === torn[i]) ? file.synced.length : 0;
  return torn.fill(0, Math.floor((kept + torn.length) / 2));
}
