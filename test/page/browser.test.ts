/** The tests' browser on a machine without its libraries, and the messages if a browser is missing or broken. */
import { expect } from "chai";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launchBrowser } from "../../bench/browser/launch.js";
import { BrowserError } from "../../bench/browser/failure.js";
import { rejection } from "../support/rejection.js";

describe("the browser of the tests", () => {
  let folder: string;
  /** An environment without any of this machine's fonts. */
  let bare: Record<string, string>;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "hrm-bare-"));
    await writeFile(join(folder, "fonts.conf"), "");
    await mkdir(join(folder, "empty"));
    const names = ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS"];
    bare = {
      ...Object.fromEntries(names.map((name) => [name, join(folder, "empty")])),
      FONTCONFIG_FILE: join(folder, "fonts.conf"),
      FONTCONFIG_PATH: join(folder, "empty"),
      PATH: process.env["PATH"] ?? "",
    };
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it("shows text on a machine without fonts", async function () {
    if (process.env["PUPPETEER_EXECUTABLE_PATH"]) return this.skip();
    const browser = await launchBrowser({ env: bare });
    try {
      const page = await browser.newPage();
      await page.setContent(
        "<h1>Sudoku</h1><p style='font-family: monospace'>1 2 3</p><button>→ – ·</button>",
      );
      const session = await page.createCDPSession();
      await session.send("DOM.enable");
      await session.send("CSS.enable");
      const { root } = await session.send("DOM.getDocument");
      for (const selector of ["h1", "p", "button"]) {
        const { nodeId } = await session.send("DOM.querySelector", { nodeId: root.nodeId, selector });
        const { fonts } = await session.send("CSS.getPlatformFontsForNode", { nodeId });
        if (browser.process()!.spawnfile.startsWith("/usr/")) expect(fonts).to.not.be.empty;
        else expect(fonts.map((font) => font.familyName)).to.deep.equal(["Open Sans"]);
      }
    } finally {
      await browser.close();
    }
  });

  /** A program in place of a browser. */
  async function launchScript(text: string, mode = 0o755): Promise<Error> {
    const path = join(folder, "chromium");
    await writeFile(path, `#!/bin/sh\n${text}\n`);
    await chmod(path, mode);
    return rejection(launchBrowser({ env: { ...bare, PUPPETEER_EXECUTABLE_PATH: path } }));
  }

  it("says which libraries are missing", async () => {
    const error = await launchScript(
      'echo "chromium: error while loading shared libraries: libnss3.so: cannot open shared object file" >&2; exit 127',
    );
    expect(error).to.be.instanceOf(BrowserError);
    expect(error.message).to.contain("does not start: shared libraries are missing: libnss3.so;");
  });

  it("says that there are no fonts", async () => {
    await rm(join(folder, "fonts.conf"));
    const error = await launchScript('echo "Fontconfig error: Cannot load default config file" >&2; exit 1');
    expect(error).to.be.instanceOf(BrowserError);
    expect(error.message)
      .to.contain(`fontconfig finds no file ${join(folder, "fonts.conf")}: install fontconfig`)
      .and.contain("it wrote: Fontconfig error");
  });

  it("says that the browser is not there, or may not be executed", async () => {
    const path = join(folder, "nothing");
    const error = await rejection(launchBrowser({ env: { ...bare, PUPPETEER_EXECUTABLE_PATH: path } }));
    expect(error).to.be.instanceOf(BrowserError);
    expect(error.message).to.contain(`${path} does not start: there is no such file`);
    expect((await launchScript("exit 0", 0o644)).message).to.contain("may not be executed");
  });
});
