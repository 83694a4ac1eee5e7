/** The site as it is built: what a first visit loads, and that nothing in it asks another address. */
import { expect } from "chai";
import { spawnSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const SITE = "build/playground";
/** KB (1,000 bytes) of gzip that a first visit may load as script. */
const BUDGET = 150;

describe("the built site", () => {
  before(function () {
    this.timeout(120_000);
    const { status, stderr } = spawnSync("npm", ["run", "-s", "build:site"], { encoding: "utf8" });
    expect(status, stderr).to.equal(0);
  });

  /** A script and all that it imports when it starts. */
  async function withImports(name: string, seen = new Map<string, Buffer>()): Promise<Map<string, Buffer>> {
    if (seen.has(name)) return seen;
    const bytes = await readFile(join(SITE, name));
    seen.set(name, bytes);
    for (const [, target] of String(bytes).matchAll(/(?:from|import)"(\.[^"]+\.js)"/g))
      await withImports(join(name, "..", target!), seen);
    return seen;
  }

  it(`loads at most ${BUDGET} KB of script at first`, async () => {
    const chunks = await readdir(join(SITE, "chunks"));
    const named = (part: string): string =>
      join(
        "chunks",
        chunks.find((name) => name.startsWith(part) && name.endsWith(".js"))!,
      );
    // The page, the worker with all kernels, and what the worker loads at once: what opens the shipped model.
    const all = new Map<string, Buffer>();
    for (const name of ["main.js", "worker.js", named("file_model-")]) await withImports(name, all);
    let total = 0;
    for (const bytes of all.values()) total += gzipSync(bytes, { level: 9 }).length / 1000;
    expect(total, [...all.keys()].join(", "))
      .to.be.at.most(BUDGET)
      .and.above(50);
    for (const later of ["uPlot", "renderer", "lab", "engine", "profile"])
      expect(
        [...all.keys()].some((name) => name.includes(`/${later}-`) || name.includes(`/${later}.`)),
        `${later} is loaded later`,
      ).to.equal(false);
  });

  it("names no other address that it could load", async () => {
    for (const name of await readdir(SITE, { recursive: true })) {
      if (!/\.(html|css|js)$/.test(name)) continue;
      const source = await readFile(join(SITE, name), "utf8");
      const loads = [
        ...source.matchAll(/(?:src|href)="(https?:)?\/\/[^"]+"/g),
        ...source.matchAll(/(?:import|fetch)\(\s*["'`]https?:/g),
        ...source.matchAll(/url\(\s*["']?https?:/g),
        ...source.matchAll(/@import\s+["']https?:/g),
      ];
      expect(
        loads.map(([match]) => match),
        name,
      ).to.deep.equal([]);
      // Every address is relative, so that any folder of any host can serve the site.
      if (name.endsWith(".html")) expect(source, name).to.not.match(/(src|href)="\/(?!\/)/);
    }
  });

  it("has a policy without eval and inline scripts, and no inline script that it would stop", async () => {
    for (const name of ["index.html", "bench/index.html"]) {
      const source = await readFile(join(SITE, name), "utf8");
      const policy = /http-equiv="Content-Security-Policy"\s+content="([^"]+)"/.exec(source)?.[1] ?? "";
      expect(policy, name).to.contain("default-src 'self'").and.not.contain("unsafe");
      expect(source, name).to.not.match(/<script(?![^>]*\ssrc=)/);
      expect(source, name).to.not.match(/\son[a-z]+="/);
    }
  });
});
