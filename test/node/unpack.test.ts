/** The cache of unpacked packages: damaged files are replaced, and folders of other users are refused. */
import { expect } from "chai";
import {
  chmod,
  chown,
  lchown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { CacheError, cacheFolder } from "../../engine/node/cache_folder.js";
import { unpackOnce, type PackageFolder } from "../../engine/node/unpack.js";
import { rejection } from "../support/rejection.js";

/** A tar archive of regular files. */
function tar(files: Readonly<Record<string, string>>): Buffer {
  const blocks = Object.entries(files).flatMap(([path, text]) => {
    const head = Buffer.alloc(512);
    head.write(path, 0);
    head.write("0000644\0", 100);
    head.write(`${text.length.toString(8).padStart(11, "0")}\0`, 124);
    head.write("0", 156);
    const data = Buffer.alloc(Math.ceil(text.length / 512) * 512);
    data.write(text);
    return [head, data];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

describe("cache of unpacked packages", () => {
  let folder: string;
  let source: PackageFolder;
  const files = ["driver.tar.br", "program.br"];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-cache-test-"));
    source = { folder: join(folder, "package"), version: "1.2.3" };
    await mkdir(source.folder);
    const archive = tar({ "lib/driver.so": "driver ".repeat(200), "icd.json": "{}" });
    await writeFile(join(source.folder, "driver.tar.br"), brotliCompressSync(archive));
    await writeFile(join(source.folder, "program.br"), brotliCompressSync(Buffer.from("program")));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const unpacked = (wanted = files): Promise<string> => unpackOnce("thing", source, wanted, folder);
  const read = (path: string): Promise<string> => readFile(join(folder, "thing-1.2.3", path), "utf8");
  async function expectWhole(): Promise<void> {
    expect(await unpacked()).to.equal(join(folder, "thing-1.2.3"));
    expect(await read("lib/driver.so")).to.equal("driver ".repeat(200));
    expect([await read("icd.json"), await read("program")]).to.deep.equal(["{}", "program"]);
    expect((await readdir(folder)).sort()).to.deep.equal(["package", "thing-1.2.3"]);
  }

  it("unpacks once", async () => {
    await expectWhole();
    const { ino } = await stat(join(folder, "thing-1.2.3"));
    await expectWhole();
    expect((await stat(join(folder, "thing-1.2.3"))).ino).to.equal(ino);
    expect((await stat(join(folder, "thing-1.2.3/program"))).mode & 0o100).to.equal(0o100);
  });

  const damages: Readonly<Record<string, (target: string) => Promise<unknown>>> = {
    "a truncated file": (target) => truncate(join(target, "lib/driver.so"), 100),
    "a changed file of the same size and time": async (target) => {
      const { atime, mtime } = await stat(join(target, "program"));
      await writeFile(join(target, "program"), "pr0gram");
      await utimes(join(target, "program"), atime, mtime);
    },
    "a missing file": (target) => unlink(join(target, "icd.json")),
    "a link in place of a file": async (target) => {
      await unlink(join(target, "program"));
      await symlink("/bin/sh", join(target, "program"));
    },
    "an empty list of checksums": (target) => truncate(join(target, "unpacked.json"), 0),
    "no list of checksums, as older versions left it": (target) => unlink(join(target, "unpacked.json")),
    "an empty folder": async (target) => {
      await rm(target, { recursive: true });
      await mkdir(target);
    },
    "a file in place of the folder": async (target) => {
      await rm(target, { recursive: true });
      await writeFile(target, "");
    },
  };
  for (const [title, damage] of Object.entries(damages))
    it(`replaces ${title}`, async () => {
      await damage(await unpacked());
      await expectWhole();
    });

  it("unpacks again if more files are wanted, and serves concurrent callers", async () => {
    await unpacked(["driver.tar.br"]);
    await Promise.all([unpacked(), unpacked(), unpacked()]);
    await expectWhole();
  });

  it("removes what a process left that was killed an hour ago", async () => {
    const left = join(folder, "thing-1.2.3.partial-abcdef");
    await mkdir(left);
    await utimes(left, 1, 1);
    await expectWhole();
  });

  it("says what to do about a damaged package, and leaves nothing behind", async () => {
    await truncate(join(source.folder, "driver.tar.br"), 20);
    const error = await rejection(unpacked());
    expect(error).to.be.instanceOf(CacheError);
    expect(String(error)).to.contain("npm ci");
    await unlink(join(source.folder, "driver.tar.br"));
    expect(String(await rejection(unpacked()))).to.contain("npm ci");
    expect(await readdir(folder)).to.deep.equal(["package"]);
  });

  it("says what to do about a cache that cannot be written to", async () => {
    await writeFile(join(folder, "no-folder"), "");
    const error = await rejection(unpackOnce("thing", source, files, join(folder, "no-folder")));
    expect(error).to.be.instanceOf(CacheError);
    expect(String(error)).to.contain("XDG_CACHE_HOME");
  });
});

describe("cache folder", () => {
  const names = ["XDG_CACHE_HOME", "HOME", "TMPDIR"] as const;
  const before = names.map((name) => process.env[name]);
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-cache-test-"));
    for (const name of names) process.env[name] = join(folder, name);
    await mkdir(join(folder, "TMPDIR"));
  });
  afterEach(async () => {
    names.forEach((name, i) => {
      if (before[i] === undefined) delete process.env[name];
      else process.env[name] = before[i];
    });
    await rm(folder, { recursive: true, force: true });
  });

  const first = (): string => join(folder, "XDG_CACHE_HOME/hrm-webgpu");
  const second = (): string => join(folder, "HOME/.cache/hrm-webgpu");

  it("is closed to other users", async () => {
    expect(await cacheFolder()).to.equal(first());
    expect((await stat(first())).mode & 0o777).to.equal(0o700);
    await chmod(first(), 0o755);
    await writeFile(join(first(), "kept"), "");
    await cacheFolder();
    expect((await stat(first())).mode & 0o777).to.equal(0o700);
    expect(await readdir(first())).to.deep.equal(["kept"]);
  });

  it("is emptied if others could write to it", async () => {
    await mkdir(join(first(), "swiftshader-1"), { recursive: true });
    await writeFile(join(first(), "swiftshader-1/libvulkan.so.1"), "planted");
    await chmod(first(), 0o777);
    expect(await cacheFolder()).to.equal(first());
    expect((await stat(first())).mode & 0o777).to.equal(0o700);
    expect(await readdir(first())).to.deep.equal([]);
  });

  it("may be a link of this user", async () => {
    await mkdir(join(folder, "elsewhere"));
    await mkdir(join(folder, "XDG_CACHE_HOME"));
    await symlink(join(folder, "elsewhere"), first());
    expect(await cacheFolder()).to.equal(first());
    expect((await stat(join(folder, "elsewhere"))).mode & 0o777).to.equal(0o700);
  });

  it("is not the folder or link of another user", async function () {
    if (process.getuid?.() !== 0) return this.skip();
    await mkdir(first(), { recursive: true });
    await chown(first(), 12345, 12345);
    expect(await cacheFolder()).to.equal(second());
    await rm(first(), { recursive: true });
    await mkdir(join(folder, "elsewhere"));
    await symlink(join(folder, "elsewhere"), first());

    await lchown(first(), 12345, 12345);
    expect(await cacheFolder()).to.equal(second());
    expect(await readdir(join(folder, "elsewhere"))).to.deep.equal([]);
  });

  it("says why no folder can be used, and what to do", async () => {
    await writeFile(join(folder, "XDG_CACHE_HOME"), "");
    await writeFile(join(folder, "HOME"), "");
    await rm(join(folder, "TMPDIR"), { recursive: true });
    await writeFile(join(folder, "TMPDIR"), "");
    const error = await rejection(cacheFolder());
    expect(error).to.be.instanceOf(CacheError);
    expect(String(error)).to.match(/XDG_CACHE_HOME\/hrm-webgpu \(ENOTDIR\).*Set XDG_CACHE_HOME/);
  });
});
