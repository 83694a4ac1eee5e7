/** Headless Chromium with WebGPU: the user's, an installed one, puppeteer's, or the one that npm brings. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "puppeteer";
import { findPackage, unpackOnce } from "../../engine/node/unpack.js";

const INSTALLED = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
];

async function findBrowser(puppeteer: {
  executablePath(): string;
}): Promise<{ executablePath: string; env: Record<string, string> }> {
  const named = process.env["PUPPETEER_EXECUTABLE_PATH"];
  if (named) return { executablePath: named, env: {} };
  const installed = INSTALLED.find((path) => existsSync(path));
  if (installed) return { executablePath: installed, env: {} };
  try {
    const path = puppeteer.executablePath();
    if (existsSync(path)) return { executablePath: path, env: {} };
  } catch {
    // no browser in puppeteer's cache
  }
  const source = await findPackage("@sparticuz/chromium");
  if (!source)
    throw new Error(
      "No Chromium: set PUPPETEER_EXECUTABLE_PATH, install one, or npm install @sparticuz/chromium.",
    );
  const folder = await unpackOnce("chromium", source, [
    "bin/chromium.br",
    "bin/swiftshader.tar.br",
    "bin/al2023.tar.br",
  ]);
  return {
    executablePath: join(folder, "chromium"),
    env: {
      LD_LIBRARY_PATH: [join(folder, "lib"), folder, process.env["LD_LIBRARY_PATH"]]
        .filter(Boolean)
        .join(":"),
    },
  };
}

/** Launches it with flags that give WebGPU on SwiftShader where there is no GPU, and further ones. */
export async function launchBrowser({ flags = [] }: { flags?: readonly string[] } = {}): Promise<Browser> {
  // Loaded here, so that a program which may open a browser starts fast where it does not.
  const { default: puppeteer } = await import("puppeteer");
  const { executablePath, env } = await findBrowser(puppeteer);
  return puppeteer.launch({
    executablePath,
    headless: "shell",
    env: { ...process.env, ...env },
    protocolTimeout: 900_000,
    args: [
      "--no-sandbox",
      "--no-zygote",
      "--enable-unsafe-webgpu",
      "--enable-features=Vulkan",
      "--use-webgpu-adapter=swiftshader",
      "--ignore-gpu-blocklist",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...flags,
    ],
  });
}
