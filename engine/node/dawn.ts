/** Dawn for Node: loads the optional package `webgpu`, and on Linux a Vulkan loader and driver if they are needed. */
import { readdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { AdapterError } from "../errors.js";
import { throttleDawnPolling } from "./throttle_dawn_polling.js";
import { CacheError } from "./cache_folder.js";
import { loadLibrary, setEnvironment } from "./native_library.js";
import { findPackage, unpackOnce } from "./unpack.js";

/** Where an adapter's driver comes from. */
export type DriverSource = "system" | "npm";

type CreateGpu = (flags: string[]) => GPU;

let createGpu: CreateGpu | null = null;

/** Loads the package `webgpu`. Without it, a runtime that has WebGPU itself (Deno) gives its own, which knows no flags. */
async function loadDawn(): Promise<CreateGpu> {
  if (createGpu) return createGpu;
  try {
    const { create } = await import("webgpu");
    // Two callers may have been waiting for the package.
    if (!createGpu) throttleDawnPolling();
    createGpu = create;
    return createGpu;
  } catch (cause) {
    const missing = (await findPackage("webgpu")) === null;
    const { gpu } = (globalThis as { navigator?: { gpu?: GPU } }).navigator ?? {};
    if (missing && gpu) return (createGpu = () => gpu);
    throw new AdapterError(
      missing
        ? "WebGPU in Node comes from the optional package webgpu, which is not installed. Run: npm install webgpu"
        : `The package webgpu does not load on this machine (${process.platform} ${process.arch}, Node ${process.versions.node}): ${String(cause)}`,
      { cause },
    );
  }
}

const linux = process.platform === "linux";

const problems = new Set<string>();

/** Reasons why installed drivers could not be used, as {@link requestAdapter} found them so far. */
export function driverProblems(): string[] {
  return [...problems];
}

/** The Vulkan loader, by the name under which Dawn looks for it. */
const LOADER = { path: "libvulkan.so.1", symbol: "vkGetInstanceProcAddr", forAll: true };

/** Loads the Vulkan loader of the system, else the one beside the software driver; false if neither loads. */
async function loadVulkan(): Promise<boolean> {
  const ofSystem = loadLibrary(LOADER);
  if (ofSystem === null) return true;
  const folder = await npmDriverFolder();
  if (!folder) {
    problems.add(`no Vulkan loader: ${ofSystem}`);
    return false;
  }
  const ofNpm = loadLibrary({ ...LOADER, path: join(folder, LOADER.path) });
  if (ofNpm !== null) problems.add(`the Vulkan loader of @sparticuz/chromium does not load: ${ofNpm}`);
  return ofNpm === null;
}

/** Environment variables by which a user names drivers to the Vulkan loader. */
const DRIVER_VARIABLES = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"];

/** True if the system, or the user through the environment, names a Vulkan driver. */
function systemNamesDriver(): boolean {
  if (DRIVER_VARIABLES.some((name) => process.env[name])) return true;
  const data = process.env["XDG_DATA_DIRS"]?.split(delimiter) ?? ["/usr/local/share", "/usr/share"];
  return ["/etc", "/usr/local/etc", join(homedir(), ".local/share"), ...data].some((folder) => {
    try {
      return readdirSync(join(folder, "vulkan/icd.d")).some((file) => file.endsWith(".json"));
    } catch {
      return false;
    }
  });
}

/**
 * The software driver and loader from the npm package `@sparticuz/chromium`. Null if the package is not installed or
 * cannot be unpacked; a GPU of the system is used in any case.
 */
async function npmDriverFolder(): Promise<string | null> {
  if (!linux || process.arch !== "x64") return null;
  const source = await findPackage("@sparticuz/chromium");
  if (!source) return null;
  try {
    return await unpackOnce("swiftshader", source, ["bin/swiftshader.tar.br"]);
  } catch (error) {
    if (!(error instanceof CacheError)) throw error;
    problems.add(error.message);
    return null;
  }
}

/** GPU objects by driver and flags. They are never released: Dawn crashes if one is collected before its device. */
const gpus = new Map<string, GPU>();

/**
 * Asks the drivers of this source for an adapter; null if there is no such driver or it offers no adapter.
 * @param flags flags for Dawn's `create`
 */
export async function requestAdapter(
  source: DriverSource,
  flags: readonly string[],
  options: GPURequestAdapterOptions,
): Promise<GPUAdapter | null> {
  const create = await loadDawn();
  const key = [source, ...flags].join(" ");
  const gpu = (): GPU => {
    const known = gpus.get(key) ?? create([...flags]);
    gpus.set(key, known);
    return known;
  };
  if (source === "npm") {
    const folder = await npmDriverFolder();
    if (!folder || !(await loadVulkan())) return null;
    // The driver is loaded here first, because the Vulkan loader does not report a driver that fails to load.
    const path = join(folder, "libvk_swiftshader.so");
    const reason = loadLibrary({ path, symbol: "vk_icdGetInstanceProcAddr" });
    if (reason !== null) {
      problems.add(`the software driver of @sparticuz/chromium does not load: ${reason}`);
      return null;
    }
    return withDrivers(join(folder, "vk_swiftshader_icd.json"), () => gpu().requestAdapter(options));
  }
  if (linux) {
    // Dawn and the loader print warnings about missing drivers to the terminal, so look first
    if (!systemNamesDriver()) return null;
    if (!(await loadVulkan())) return null;
  }
  return gpu().requestAdapter(options);
}

/** Runs `body` while the Vulkan loader sees exactly these drivers. The loader looks for drivers at the first request. */
async function withDrivers<T>(files: string, body: () => Promise<T>): Promise<T> {
  const before = DRIVER_VARIABLES.map((name) => [name, process.env[name]] as const);
  for (const name of DRIVER_VARIABLES) setEnvironment(name, undefined);
  setEnvironment("VK_ICD_FILENAMES", files);
  try {
    return await body();
  } finally {
    for (const [name, value] of before) setEnvironment(name, value);
  }
}
