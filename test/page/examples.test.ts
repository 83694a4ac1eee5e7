/** A part of the examples, from the packed tarball; `npm run examples` runs all of them. */
import { assert } from "chai";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { launchBrowser } from "../../bench/browser/launch.js";
import type * as Runner from "../../docs/examples/run.mjs";

// Not bundled: the runner finds its folder by its own place.
const { listExamples, packLibrary, runExample } = (await import(
  pathToFileURL(resolve("docs/examples/run.mjs")).href
)) as typeof Runner;

/** A page without a build, a program beside a renderer, and the bundler that allows a worker one file only. */
const SUBSET = ["html", "renderer", "vite@7"];

describe("examples @slow", function () {
  this.timeout(300_000);
  let folder: string;
  let tarball: string;
  let browser: Awaited<ReturnType<typeof launchBrowser>> | undefined;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-examples-"));
    tarball = await packLibrary(folder, { built: true });
    browser = await launchBrowser();
  });
  after(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  for (const title of SUBSET)
    it(`${title} works`, async () => {
      const example = listExamples().find((e) => e.title === title)!;
      assert.match(await runExample(example, tarball, folder, () => Promise.resolve(browser!)), /^loss/);
    });

  it("the bundlers' examples are one program", () => {
    for (const bundler of ["esbuild", "rollup", "webpack"])
      for (const file of ["main.js", "worker.js"])
        assert.equal(
          readFileSync(`docs/examples/${bundler}/${file}`, "utf8"),
          readFileSync(`docs/examples/vite/${file}`, "utf8"),
        );
  });
});
