// The browser comes from the system or from an npm package (test/support/browser.ts): an install never depends on a download.
module.exports = { skipDownload: true };
