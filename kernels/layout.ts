/** Kernels that move elements: strided copies (slice, transpose, broadcast), padding, concatenation. */
import { KernelError, requireBindable, requirePositive, type Dtype, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import { bindingsOf, linearThreads, lines, repeat, shader, type ShaderBinding } from "./core/wgsl.js";

const WORKGROUP = 64;

/** A copy that reads its source with strides: transpositions, slices and broadcasts. */
export interface StridedCopySpec {
  /** Shape of the output. */
  readonly shape: readonly number[];
  /** For each output dimension, the distance of neighbours in the source, in elements; 0 repeats an element. */
  readonly strides: readonly number[];
  /** The source's element that becomes the first of the output. */
  readonly offset: number;
  /** Elements of the source. */
  readonly sourceElements: number;
  /** Type of the elements. */
  readonly dtype: Dtype;
}

const product = (values: readonly number[]): number => values.reduce((a, b) => a * b, 1);

/** Sizes under names for {@link requirePositive}: `dimension 0`, `dimension 1`, ... */
const named = (name: string, sizes: readonly number[]): Record<string, number> =>
  Object.fromEntries(sizes.map((n, i) => [`${name} ${i}`, n]));

/** WGSL terms that split a linear `index` over `shape` into one digit per dimension. */
function digits(shape: readonly number[], index: string): string[] {
  return shape.map((n, k) => {
    const below = product(shape.slice(k + 1));
    const shifted = below === 1 ? index : `${index} / ${below}u`;
    return k === 0 ? `(${shifted})` : `(${shifted}) % ${n}u`;
  });
}

/** y[i] = x[offset + sum i_k strides_k]. Bindings: x, y. */
export function stridedCopy(spec: StridedCopySpec, capabilities: Capabilities): Kernel {
  const { shape, strides, offset, sourceElements, dtype } = spec;
  const size = product(shape);
  const name = `strided_copy_${shape.join("x")}_${strides.join("_")}_at${offset}_${dtype}`;
  requirePositive(name, { ...named("dimension", shape), sourceElements });
  requireBindable(name, { x: sourceElements, y: size }, capabilities);
  if (strides.length !== shape.length || ![offset, ...strides].every((n) => Number.isInteger(n) && n >= 0)) {
    throw new KernelError(
      name,
      `offset ${offset} and strides [${strides.join(", ")}]`,
      `an offset and ${shape.length} strides, all integers from 0`,
    );
  }
  const reach = offset + shape.reduce((sum, n, k) => sum + (n - 1) * strides[k]!, 0);
  if (reach >= sourceElements) {
    throw new KernelError(
      name,
      `a last element ${reach}`,
      `strides that stay inside the ${sourceElements} source elements`,
    );
  }
  // Dimensions that one stride serves become one dimension. A contiguous innermost run moves in 4-vectors.
  const dims: { n: number; stride: number }[] = [];
  shape.forEach((n, k) => {
    if (n === 1) return;
    const stride = strides[k]!;
    const outer = dims.at(-1);
    if (outer && outer.stride === n * stride) dims[dims.length - 1] = { n: outer.n * n, stride };
    else dims.push({ n, stride });
  });
  // A repeated element is read once.
  const bytes = 4 * (size + product(shape.filter((_, k) => strides[k] !== 0)));
  const copy: Copy = { name, dims, offset, dtype, bytes };
  return transposesBlocks(copy) ? blockTranspose(copy, capabilities) : flatCopy(copy, capabilities);
}

/** A strided copy whose dimensions cannot be merged further. */
interface Copy {
  readonly name: string;
  readonly dims: readonly { readonly n: number; readonly stride: number }[];
  readonly offset: number;
  readonly dtype: Dtype;
  readonly bytes: number;
}

/** One element per thread, or four if both sides are contiguous. */
function flatCopy({ name, dims, offset, dtype, bytes }: Copy, capabilities: Capabilities): Kernel {
  const last = dims.at(-1);
  const vector =
    last?.stride === 1 &&
    last.n % 4 === 0 &&
    offset % 4 === 0 &&
    dims.slice(0, -1).every((d) => d.stride % 4 === 0);
  const width = vector ? 4 : 1;
  const units = dims.map((d, k) => ({
    n: k === dims.length - 1 ? d.n / width : d.n,
    stride: k === dims.length - 1 ? d.stride : d.stride / width,
  }));
  const terms = digits(
    units.map((d) => d.n),
    "index",
  ).map((digit, k) => `${digit} * ${units[k]!.stride}u`);
  return mover(
    name,
    [{ name: "x", access: "read", dtype, width }],
    { name: "y", access: "read_write", dtype, width },
    product(units.map((d) => d.n)),
    capabilities,
    { body: `y[index] = x[${[`${offset / width}u`, ...terms].join(" + ")}];`, bytes },
  );
}

/** True if source and output are contiguous along different dimensions, both in whole 4-vectors. */
function transposesBlocks({ dims, offset }: Copy): boolean {
  const across = dims.findIndex((d) => d.stride === 1);
  return (
    across >= 0 &&
    across < dims.length - 1 &&
    [across, dims.length - 1].every((k) => dims[k]!.n % 4 === 0) &&
    offset % 4 === 0 &&
    dims.every((d, k) => k === across || d.stride % 4 === 0)
  );
}

/** A block of 4 x 4 per thread: four vectors along the source's contiguous dimension become four along the output's. */
function blockTranspose({ name, dims, offset, dtype, bytes }: Copy, capabilities: Capabilities): Kernel {
  const along = dims.length - 1;
  const across = dims.findIndex((d) => d.stride === 1);
  const counts = dims.map((d, k) => (k === across || k === along ? d.n / 4 : d.n));
  const below = (k: number): number => product(dims.slice(k + 1).map((d) => d.n));
  // Positions of a block's first element, in vectors. A digit of a blocked dimension stands for four elements.
  const steps = (k: number): number => (k === across || k === along ? 4 : 1);
  const positions = digits(counts, "index");
  const from = positions.map((digit, k) => `${digit} * ${(dims[k]!.stride * steps(k)) / 4}u`);
  const to = positions.map((digit, k) => `${digit} * ${(below(k) * steps(k)) / 4}u`);
  return mover(
    name,
    [{ name: "x", access: "read", dtype, width: 4 }],
    { name: "y", access: "read_write", dtype, width: 4 },
    product(counts),
    capabilities,
    {
      body: lines(
        `let from_vector = ${[`${offset / 4}u`, ...from].join(" + ")};`,
        `let to_vector = ${to.join(" + ")};`,
        repeat(4, (j) => `let v${j} = x[from_vector + ${(j * dims[along]!.stride) / 4}u];`),
        repeat(4, (i) => {
          const column = Array.from({ length: 4 }, (_, j) => `v${j}[${i}]`).join(", ");
          return `y[to_vector + ${(i * below(across)) / 4}u] = vec4<${dtype}>(${column});`;
        }),
      ),
      bytes,
    },
  );
}

/** A block to place among zeros. */
export interface PadSpec {
  /** Shape of the output. */
  readonly shape: readonly number[];
  /** Shape of the block. */
  readonly source: readonly number[];
  /** Position of the block in the output. */
  readonly start: readonly number[];
  /** Type of the elements. */
  readonly dtype: Dtype;
}

/** Zeros outside the block at `start`: the gradient of a slice. Bindings: x, y. */
export function pad(spec: PadSpec, capabilities: Capabilities): Kernel {
  const { shape, source, start, dtype } = spec;
  const size = product(shape);
  const name = `pad_${source.join("x")}_to_${shape.join("x")}_at_${start.join("_")}_${dtype}`;
  requirePositive(name, { ...named("dimension", shape), ...named("source dimension", source) });
  requireBindable(name, { y: size }, capabilities);
  const fits = (n: number, k: number): boolean =>
    Number.isInteger(start[k]) && start[k]! >= 0 && start[k]! + n <= shape[k]!;
  if (source.length !== shape.length || start.length !== shape.length || !source.every(fits)) {
    throw new KernelError(
      name,
      `a block [${source.join(", ")}] at [${start.join(", ")}]`,
      `a block inside [${shape.join(", ")}]`,
    );
  }
  const positions = digits(shape, "index");
  const inside = source
    .map((n, k) => (n === shape[k] ? "" : `d${k} >= ${start[k]!}u && d${k} < ${start[k]! + n}u`))
    .filter(Boolean);
  const at = source.map((_, k) => `(d${k} - ${start[k]!}u) * ${product(source.slice(k + 1))}u`);
  return mover(
    name,
    [{ name: "x", access: "read", dtype }],
    { name: "y", access: "read_write", dtype },
    size,
    capabilities,
    {
      body: lines(
        positions.map((digit, k) => `let d${k} = ${digit};`),
        `var value = ${dtype}(0);`,
        `if (${inside.join(" && ") || "true"}) { value = x[${at.join(" + ") || "0u"}]; }`,
        "y[index] = value;",
      ),
      bytes: 4 * (size + product(source)),
    },
  );
}

/** Tensors to join along an axis. */
export interface ConcatSpec {
  /** Product of the lengths of the axes before that axis. */
  readonly outer: number;
  /** Size of each input along the axis. There can be one input fewer than the device binds storage buffers: 7 on every device. */
  readonly sizes: readonly number[];
  /** Product of the lengths of the axes after that axis. */
  readonly inner: number;
  /** Type of the elements. */
  readonly dtype: Dtype;
}

/** Inputs [outer, sizes_i, inner] one after the other along the axis. Bindings: x0, x1, ..., y. */
export function concat(spec: ConcatSpec, capabilities: Capabilities): Kernel {
  const { outer, sizes, inner, dtype } = spec;
  const name = `concat_${outer}x(${sizes.join("+")})x${inner}_${dtype}`;
  requirePositive(name, { inputs: sizes.length, outer, inner, ...named("size", sizes) });
  if (sizes.length + 1 > capabilities.maxStorageBuffersPerShaderStage) {
    throw new KernelError(
      name,
      `${sizes.length} inputs`,
      `at most ${capabilities.maxStorageBuffersPerShaderStage - 1}`,
      "Concatenate in stages.",
    );
  }
  const width = sizes.every((n) => (n * inner) % 4 === 0) ? 4 : 1;
  const runs = sizes.map((n) => (n * inner) / width);
  const run = runs.reduce((a, b) => a + b, 0);
  requireBindable(name, { y: outer * run * width }, capabilities);
  let end = 0;
  const branches = runs.map((n, i) => {
    const start = end;
    end += n;
    return `${i === 0 ? "" : "else "}if (within < ${end}u) { y[index] = x${i}[row * ${n}u + within - ${start}u]; }`;
  });
  const inputs = sizes.map((_, i): ShaderBinding => ({ name: `x${i}`, access: "read", dtype, width }));
  return mover(name, inputs, { name: "y", access: "read_write", dtype, width }, outer * run, capabilities, {
    body: lines(`let row = index / ${run}u;`, `let within = index % ${run}u;`, branches),
    bytes: 8 * outer * run * width,
  });
}

function mover(
  name: string,
  inputs: readonly ShaderBinding[],
  output: ShaderBinding,
  items: number,
  capabilities: Capabilities,
  { body, bytes }: { body: string; bytes: number },
): Kernel {
  const bindings = [...inputs, output];
  const { workgroups, prologue } = linearThreads(name, items, WORKGROUP, capabilities);
  const code = shader({ bindings, workgroupSize: WORKGROUP, body: lines(prologue, body) });
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: 0, bytes };
}
