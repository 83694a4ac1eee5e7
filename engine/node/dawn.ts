/** Dawn for Node: loads the optional package `webgpu`, and a Vulkan loader and driver where Linux needs them. */
import { readdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { AdapterError } from "../errors.js";
import { paceDawn } from "./pace.js";
import { findPackage, unpackOnce } from "./unpack.js";

/** Where an adapter's driver comes from. */
export type DriverSource = "system" | "npm";

type CreateGpu = (flags: string[]) => GPU;

let createGpu: CreateGpu | null = null;

/** Loads the package `webgpu`. */
async function loadDawn(): Promise<CreateGpu> {
  if (createGpu) return createGpu;
  try {
    const { create } = await import("webgpu");
    // Two callers may have been waiting for it.
    if (!createGpu) paceDawn();
    createGpu = create;
    return createGpu;
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND";
    throw new AdapterError(
      missing
        ? "WebGPU in Node comes from the optional package webgpu, which is not installed. Run: npm install webgpu"
        : `The package webgpu does not load on this machine (${process.platform} ${process.arch}, Node ${process.versions.node}): ${String(cause)}`,
      { cause },
    );
  }
}

const linux = process.platform === "linux";

/** RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE: the library stays loaded, and Dawn finds it by its name. */
const KEEP_LOADED = 2 | 0x100 | 0x1000;

/** Loads a shared library into this process; false where there is none. */
function loadLibrary(path: string): boolean {
  try {
    process.dlopen({ exports: {} }, path, KEEP_LOADED);
    return true;
  } catch (error) {
    // Node looks for an addon in it and finds none, by when the library is loaded
    return String(error).includes("did not self-register");
  }
}

/** Environment variables by which a user names drivers to the Vulkan loader. */
const DRIVER_VARIABLES = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES"];

/** True where the system, or the user through the environment, names a Vulkan driver. */
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

/** The software driver and loader from the npm package `@sparticuz/chromium`; null where that is not installed. */
export async function npmDriverFolder(): Promise<string | null> {
  if (!linux || process.arch !== "x64") return null;
  const source = await findPackage("@sparticuz/chromium");
  return source && unpackOnce("swiftshader", source, ["bin/swiftshader.tar.br"]);
}

/** GPU objects by driver and flags. Kept for good: Dawn crashes where one is collected before its device. */
const gpus = new Map<string, GPU>();

/**
 * Asks drivers of this source for an adapter; null where there is no such driver or it has none to offer.
 * @param flags as Dawn's `create` takes them
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
    if (!folder || !(loadLibrary("libvulkan.so.1") || loadLibrary(join(folder, "libvulkan.so.1"))))
      return null;
    return withDrivers(join(folder, "vk_swiftshader_icd.json"), () => gpu().requestAdapter(options));
  }
  if (linux) {
    // Dawn and the loader complain on the terminal about what is missing, so look first
    if (!systemNamesDriver()) return null;
    if (!loadLibrary("libvulkan.so.1")) {
      const folder = await npmDriverFolder();
      if (!folder || !loadLibrary(join(folder, "libvulkan.so.1"))) return null;
    }
  }
  return gpu().requestAdapter(options);
}

/** Runs `body` while the Vulkan loader, which looks when adapters are first asked for, sees exactly these drivers. */
async function withDrivers<T>(files: string, body: () => Promise<T>): Promise<T> {
  const before = DRIVER_VARIABLES.map((name) => [name, process.env[name]] as const);
  for (const name of DRIVER_VARIABLES) delete process.env[name];
  process.env["VK_ICD_FILENAMES"] = files;
  try {
    return await body();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}
