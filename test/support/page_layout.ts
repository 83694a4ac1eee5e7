/** How the page is laid out: pictures of it, and what jumps. */
import { expect } from "chai";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Page } from "puppeteer";

/** The page at three widths, in light, dark and forced colours, for people to look at. */
export async function takePictures(page: Page): Promise<void> {
  const pictures = "build/screenshots";
  await mkdir(pictures, { recursive: true });
  const session = await page.createCDPSession();
  for (const width of [360, 1280, 2560]) {
    await page.setViewport({ width, height: width < 1000 ? 740 : 0.5625 * width });
    for (const [scheme, forced] of [
      ["light", "none"],
      ["dark", "none"],
      ["dark", "active"],
    ] as const) {
      await session.send("Emulation.setEmulatedMedia", {
        features: [
          { name: "prefers-color-scheme", value: scheme },
          { name: "forced-colors", value: forced },
        ],
      });
      await requireLayout(page, width);
      // Charts are drawn anew for another width or other colours; this picture is the last of them.
      await untilCanvas(page);
      const name = `${width}-${forced === "active" ? "forced" : scheme}.png`;
      await page.screenshot({ path: join(pictures, name), fullPage: true });
    }
  }
  // The tests that share the page see it in its usual size and colours.
  await session.send("Emulation.setEmulatedMedia", { features: [] });
  await session.detach();
  await page.setViewport({ width: 1280, height: 800 });
}

/** Until the picture in three dimensions has the width and the colours of the page. */
const untilCanvas = (page: Page): Promise<unknown> =>
  page.waitForFunction(() => {
    const canvas = document.querySelector<HTMLCanvasElement>("#state-canvas canvas")!;
    const panel = getComputedStyle(document.documentElement).getPropertyValue("--panel").trim();
    const channels = [1, 3, 5].map((at) => Number.parseInt(panel.slice(at, at + 2), 16) / 255);
    const wanted = `${Math.round(canvas.clientWidth * devicePixelRatio)} ${channels.join(" ")}`;
    return canvas.dataset["drawn"] === wanted;
  });

/** What a visitor must see without scrolling, and that nothing is cut off or bent. */
async function requireLayout(page: Page, width: number): Promise<void> {
  const { overflow, boardTop, startBottom, cells } = await page.evaluate(() => {
    scrollTo(0, 0);
    const box = (selector: string): DOMRect => document.querySelector(selector)!.getBoundingClientRect();
    return {
      overflow: document.documentElement.scrollWidth - innerWidth,
      boardTop: box("#board").top,
      startBottom: box(innerWidth < 700 ? ".bottom-bar .main" : "#toggle").bottom,
      cells: [...document.querySelectorAll("#board [data-cell]")].map((cell) => {
        const { width, height } = cell.getBoundingClientRect();
        return [width, height] as const;
      }),
    };
  });
  expect(overflow, `${width} px: wider than the screen`).to.be.at.most(0);
  expect(boardTop, `${width} px: the board begins`).to.be.below(110);
  expect(startBottom, `${width} px: Start ends`).to.be.at.most(
    width === 1280 ? 800 : width === 360 ? 740 : 1440,
  );
  for (const [w, h] of cells) expect(Math.abs(w - h), `${width} px: a cell of ${w} by ${h}`).to.be.below(2.1);
}

/** The sum of all layout shifts so far that no input caused: 0 if nothing jumped. */
export const layoutShift = (page: Page): Promise<number> =>
  page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const sum = (entries: PerformanceEntryList): number =>
          (entries as (PerformanceEntry & { value: number; hadRecentInput: boolean })[]).reduce(
            (total, { value, hadRecentInput }) => total + (hadRecentInput ? 0 : value),
            0,
          );
        const observer = new PerformanceObserver((list) => resolve(sum(list.getEntries())));
        observer.observe({ type: "layout-shift", buffered: true });
        // Without a shift nothing is observed.
        setTimeout(() => resolve(sum(observer.takeRecords())), 200);
      }),
  );
