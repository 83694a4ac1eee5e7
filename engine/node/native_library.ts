/**
 * Shared libraries and environment variables of this process, in Node, Deno and Bun. Node and Deno have addons alone in
 * mind: what they offer for other libraries differs, and Bun keeps an environment of its own beside that of the process.
 */
import { readFileSync } from "node:fs";

/** What this file uses of Deno's and Bun's foreign functions. */
interface OtherRuntimes {
  readonly Deno?: { dlopen(path: string, symbols: object): unknown };
  readonly Bun?: { readonly FFI: { dlopen(path: string, symbols: object): { readonly symbols: unknown } } };
}

const { Deno: deno, Bun: bun } = globalThis as OtherRuntimes;

/** RTLD_NOW | RTLD_NODELETE: the library stays loaded. */
const KEEP_LOADED = 2 | 0x1000;
/** RTLD_GLOBAL: others find the library's functions by name. */
const FOR_ALL = 0x100;

/** A shared library that Vulkan needs, with a function that it exports: Bun opens none without naming one. */
export interface NativeLibrary {
  readonly path: string;
  readonly symbol: string;
  /** True for a library whose functions others look up in the whole process. */
  readonly forAll?: boolean;
}

/** Loads a shared library into this process for good. Returns the reason if it does not load, else null. */
export function loadLibrary({ path, symbol, forAll = false }: NativeLibrary): string | null {
  try {
    if (deno) deno.dlopen(path, {});
    else if (bun) bun.FFI.dlopen(path, { [symbol]: { args: ["ptr", "ptr"], returns: "ptr" } });
    else process.dlopen({ exports: {} }, path, forAll ? KEEP_LOADED | FOR_ALL : KEEP_LOADED);
    return null;
  } catch (error) {
    const { message } = error as Error;
    // Node looks for an addon in the library, finds none and throws, but by then the library is loaded. Without /proc, Node's message decides.
    return isLoaded(path) || message.includes("did not self-register") ? null : message;
  }
}

/** True if a shared library is part of this process. */
function isLoaded(path: string): boolean {
  try {
    const name = path.slice(path.lastIndexOf("/"));
    return readFileSync("/proc/self/maps", "utf8").includes(name.startsWith("/") ? name : `/${name}`);
  } catch {
    return false;
  }
}

/** Sets an environment variable of the process, which native code reads, or removes it. */
export function setEnvironment(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
  if (!bun) return;
  const text = (s: string): Uint8Array => new TextEncoder().encode(`${s}\0`);
  const c = bun.FFI.dlopen("libc.so.6", {
    setenv: { args: ["cstring", "cstring", "i32"], returns: "i32" },
    unsetenv: { args: ["cstring"], returns: "i32" },
  }).symbols as {
    setenv(name: Uint8Array, value: Uint8Array, overwrite: number): number;
    unsetenv(name: Uint8Array): number;
  };
  if (value === undefined) c.unsetenv(text(name));
  else c.setenv(text(name), text(value), 1);
}
