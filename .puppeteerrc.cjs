// Installing never downloads a browser: tests use one that is there, or the one in @sparticuz/chromium.
module.exports = { skipDownload: true };
