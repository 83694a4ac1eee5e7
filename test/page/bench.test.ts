/** The benchmark page in real Chromium: a short run, the roofline, and a report that the command line can read. */
import { expect } from "chai";
import type { Browser } from "puppeteer";
import { parseReport } from "../../bench/core/report.js";
import { launchBrowser } from "../../bench/browser/launch.js";
import { playgroundAddress } from "../support/playground.js";

describe("benchmark page", () => {
  let browser: Browser | undefined;
  let address = "";

  before(async function () {
    this.timeout(60_000);
    address = await playgroundAddress();
    browser = await launchBrowser();
  });
  after(() => browser?.close());

  it("runs the suite, draws it and hands over a report", async () => {
    const page = await browser!.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    await page.goto(`${address}bench`);
    // Keeps what the download button would save.
    await page.evaluate(() => {
      const original = URL.createObjectURL.bind(URL);
      URL.createObjectURL = (blob: Blob) => {
        void blob.text().then((text) => (document.documentElement.dataset["saved"] = text));
        return original(blob);
      };
    });
    await page.type("#filter", "rms_norm_residual tiny");
    await page.click("#start");
    await page.waitForFunction(() =>
      ["done", "failed"].includes(document.documentElement.dataset["phase"] ?? ""),
    );
    const status = await page.$eval("#status", (found) => found.textContent);
    expect(await page.evaluate(() => document.documentElement.dataset["phase"]), status ?? "").to.equal(
      "done",
    );
    expect(await page.$$eval("#rows tr", (rows) => rows.length)).to.equal(2);
    expect(await page.$$eval("#roofline .dot", (dots) => dots.length)).to.equal(2);
    expect(await page.$$eval("#roofline .roof", (lines) => lines.length)).to.equal(1);
    await page.click("#download");
    await page.waitForFunction(() => document.documentElement.dataset["saved"] !== undefined);
    const report = parseReport(await page.evaluate(() => document.documentElement.dataset["saved"]!));
    expect(report.results.map((r) => r.kernel)).to.deep.equal(["rms_norm_residual", "rms_norm_residual"]);
    for (const r of report.results) expect(r.maxError).to.be.at.most(r.tolerance);
    expect(report.environment.runtime).to.match(/Chrom/);
    expect(errors).to.deep.equal([]);
  });
});
