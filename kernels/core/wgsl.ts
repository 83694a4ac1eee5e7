/** How WGSL text is put together: bindings, entry point, and dispatches that respect the per-dimension limit. */
import {
  GRADIENT_SCALE,
  KernelError,
  type Binding,
  type DeviceLimits,
  type Dtype,
  type F16Buffers,
  type Kernel,
  type StorageType,
} from "./kernel.js";

/** A binding as the shader sees it. `width` 4 makes it an array of 4-vectors; 8 makes it f16 numbers, eight in four words. */
export interface ShaderBinding extends Binding {
  /** Elements of the array's vectors: 4 reads `vec4`s, 8 two of them; default 1. */
  readonly width?: 1 | 4 | 8;
}

/** WGSL name of a scalar or 4-vector of this dtype, such as `f32` or `vec4<f32>`. Eight f16 numbers are four words. */
export function typeName(dtype: StorageType, width: 1 | 4 | 8 = 1): string {
  return width === 1 ? dtype : `vec4<${width === 4 ? dtype : "u32"}>`;
}

/** Joins lines or blocks of WGSL, dropping empty ones. */
export function lines(...parts: (string | readonly string[] | false | undefined)[]): string {
  return parts.flat().filter(Boolean).join("\n");
}

/** `count` lines made by `line(i)`. */
export function repeat(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join("\n");
}

/** Restores the indentation of generated text: two spaces per brace level. */
function indented(code: string): string {
  let depth = 0;
  return code
    .split("\n")
    .map((raw) => {
      const line = raw.trim();
      const closes = /^[})]/.test(line) ? 1 : 0;
      const text = "  ".repeat(Math.max(0, depth - closes)) + line;
      for (const c of line) depth += c === "{" || c === "(" ? 1 : c === "}" || c === ")" ? -1 : 0;
      return line ? text : "";
    })
    .join("\n");
}

export interface ShaderParts {
  readonly bindings: readonly ShaderBinding[];
  readonly workgroupSize: number | readonly [number, number];
  /** Module-scope text: constants, functions, workgroup variables; without `enable` directives. */
  readonly declarations?: string;
  /** Directives that must come first, such as `enable subgroups;`. */
  readonly directives?: string;
  /** Further entry-point parameters, such as `@builtin(subgroup_size) subgroup_size: u32`. */
  readonly parameters?: readonly string[];
  /** Body of `main`; may use `workgroup` (vec3u), `lane` (u32, index in the workgroup) and `local` (vec3u). */
  readonly body: string;
}

/** A whole WGSL module around a body. */
export function shader(parts: ShaderParts): string {
  const size = typeof parts.workgroupSize === "number" ? [parts.workgroupSize] : parts.workgroupSize;
  const parameters = [
    "@builtin(workgroup_id) workgroup: vec3u",
    "@builtin(local_invocation_index) lane: u32",
    ...(size.length > 1 ? ["@builtin(local_invocation_id) local: vec3u"] : []),
    ...(parts.parameters ?? []),
  ];
  const inF16 = parts.bindings.some(({ dtype }) => dtype === "f16");
  return indented(
    lines(
      inF16 && !parts.directives?.includes("enable f16;") && "enable f16;",
      parts.directives,
      parts.bindings.map(
        (b, i) =>
          `@group(0) @binding(${i}) var<storage, ${b.access}> ${b.name}: array<${typeName(b.dtype, b.width)}>;`,
      ),
      parts.declarations,
      `@compute @workgroup_size(${size.join(", ")})`,
      `fn main(${parameters.join(", ")}) {`,
      parts.body,
      "}",
    ),
  );
}

/** A one-dimensional run of workgroups folded under the per-dimension limit. */
export interface LinearDispatch {
  readonly workgroups: readonly [number, number, number];
  /** WGSL expression (u32) for the linear workgroup index. If the dispatch is folded, it may exceed `count`. */
  readonly group: string;
}

/**
 * Dispatches `count` workgroups. Guard with `if (group >= count) { return; }` in the shader, because a folded dispatch
 * rounds up.
 */
export function linearDispatch(name: string, count: number, capabilities: DeviceLimits): LinearDispatch {
  const limit = capabilities.maxComputeWorkgroupsPerDimension;
  if (count <= limit) return { workgroups: [count, 1, 1], group: "workgroup.x" };
  const y = Math.ceil(count / limit);
  if (y <= limit) return { workgroups: [limit, y, 1], group: `(workgroup.y * ${limit}u + workgroup.x)` };
  throw new KernelError(
    name,
    `${count} workgroups`,
    `at most ${limit} x ${limit}`,
    "Split the work into smaller tensors.",
  );
}

/** Dispatches one thread per item, in workgroups of `workgroupSize`. The prologue defines `index`, the thread's item, and returns past the end. */
export function linearThreads(
  name: string,
  items: number,
  workgroupSize: number,
  capabilities: DeviceLimits,
): { workgroups: Kernel["workgroups"]; prologue: string } {
  const { workgroups, group } = linearDispatch(name, Math.ceil(items / workgroupSize), capabilities);
  return {
    workgroups,
    prologue: lines(
      `let index = ${group} * ${workgroupSize}u + lane;`,
      `if (index >= ${items}u) { return; }`,
    ),
  };
}

/**
 * A WGSL literal of the number: an f32 with enough digits to come back unchanged, or an integer of the dtype.
 * @throws KernelError for NaN, infinities and numbers that do not fit the dtype.
 */
export function literal(value: number, dtype: Dtype = "f32"): string {
  if (dtype === "f32") {
    const rounded = Math.fround(value);
    if (!Number.isFinite(rounded))
      throw new KernelError("literal", String(value), "a finite f32 (WGSL has no constant NaN or infinity)");
    const text = String(rounded);
    return value < 0 ? `f32(${text})` : /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
  }
  if (value !== (dtype === "i32" ? value | 0 : value >>> 0))
    throw new KernelError("literal", String(value), `an integer that fits ${dtype}`);
  return dtype === "u32" ? `${value}u` : value < 0 ? `i32(${value})` : `${value}i`;
}

/**
 * Functions over f32 numbers or 4-vectors of them (type `F`, with `U` of u32 and `B` of bool in the same width) that tell
 * NaN by its bits, because WGSL lets compilers assume that there is no NaN.
 */
export const NAN_FUNCTIONS = {
  is_nan: lines("fn is_nan(x: F) -> B {", "return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u);", "}"),
  or_nan: lines(
    "fn or_nan(y: F, lost: B) -> F {",
    "return bitcast<F>(select(bitcast<U>(y), U(0x7fc00000u), lost));",
    "}",
  ),
} as const;

/** The text of functions with the types `F`, `U` and `B` of this width. */
export function ofWidth(functions: string, width: 1 | 4): string {
  return functions
    .replace(/\bF\b/g, typeName("f32", width))
    .replace(/\bU\b/g, typeName("u32", width))
    .replace(/\bB\b/g, width === 4 ? "vec4<bool>" : "bool");
}

/** True if the number is positive in f32 and no adapter flushes it to 0. */
export function isPositiveF32(value: number): boolean {
  const rounded = Math.fround(value);
  return rounded >= 2 ** -126 && rounded < Infinity;
}

/** The buffers of a kernel as its text uses them, whether they hold f32 or f16. */
export interface Buffers {
  readonly bindings: readonly ShaderBinding[];
  /** The value at an index, in f32. */
  readonly load: (name: string, at: string) => string;
  /** A statement that stores an f32 value at an index. */
  readonly store: (name: string, at: string, value: string) => string;
  /** Part of the kernel's name: `_half_x_y` if x and y are stored in f16, else empty. */
  readonly suffix: string;
  /** Bytes that f16 saves, from the number of elements of each buffer. */
  readonly saved: (elements: Readonly<Record<string, number>>) => number;
}

/** Stores buffers in f16 as a spec says. @throws KernelError if it names what is no f32 buffer, or scales a buffer that is read */
export function buffersOf(
  kernel: string,
  given: readonly ShaderBinding[],
  { halves = [], scaled = [] }: F16Buffers,
): Buffers {
  /** Width of each buffer in f16. */
  const widths = new Map<string, 1 | 4 | 8>();
  for (const name of [...halves, ...scaled]) {
    const { dtype, access, width = 1 } = given.find((b) => b.name === name) ?? {};
    if (dtype !== "f32" || (access === "read" && scaled.includes(name)))
      throw new KernelError(
        kernel,
        `${name} in f16`,
        "a buffer of f32, and one that it writes if it is scaled",
      );
    widths.set(name, width);
  }
  const bindings = given.map((b) => (widths.has(b.name) ? ({ ...b, dtype: "f16" } as const) : b));
  const names = bindings.flatMap(({ name }) => (widths.has(name) ? name : []));
  const converted = (name: string, dtype: "f32" | "f16", value: string): string =>
    widths.has(name) ? `${typeIn(dtype, widths.get(name))}(${value})` : value;
  return {
    bindings,
    load: (name, at) => converted(name, "f32", `${name}[${at}]`),
    store(name, at, value) {
      const factored = scaled.includes(name) ? `(${value}) * ${literal(GRADIENT_SCALE)}` : value;
      return `${name}[${at}] = ${converted(name, "f16", factored)};`;
    },
    suffix: names.length > 0 ? `_half_${names.join("_")}` : "",
    saved: (elements) => names.reduce((sum, name) => sum + 2 * elements[name]!, 0),
  };
}

/** As {@link typeName}, with the short name for vectors of f32. */
const typeIn = (dtype: StorageType, width: 1 | 4 | 8 = 1): string =>
  width === 4 && dtype === "f32" ? "vec4f" : typeName(dtype, width);

/** Drops the shader-only fields and leaves those of `Kernel.bindings`. */
export function bindingsOf(bindings: readonly ShaderBinding[]): readonly Binding[] {
  return bindings.map(({ name, access, dtype }) => ({ name, access, dtype }));
}
