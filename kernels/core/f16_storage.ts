/** Buffers of f32 that are stored in f16: what is loaded is f32 at once, and what is stored is rounded last. */
import { KernelError, type Binding } from "./kernel.js";
import { literal } from "./wgsl.js";

interface Text {
  readonly code: string;
  readonly bindings: readonly Binding[];
}

/**
 * The kernel with these f32 bindings stored in f16, multiplied by `scale` as they are. Its text may read and write them as
 * `name[i]` and `name[i] = value;` alone, with brackets inside the index at most one deep; with a scale only write.
 * @throws KernelError for other uses of them, such as pointers
 */
export function inHalves<T extends Text>(kernel: T, names: readonly string[], scale = 1): T {
  if (names.length === 0) return kernel;
  return {
    ...kernel,
    code: names.reduce(
      (code, name) => storedInHalf(code, name, scale),
      /^enable f16;$/m.test(kernel.code) ? kernel.code : `enable f16;\n${kernel.code}`,
    ),
    bindings: kernel.bindings.map((b) => (names.includes(b.name) ? { ...b, dtype: "f16" } : b)),
  };
}

function storedInHalf(code: string, name: string, scale: number): string {
  const declaration = new RegExp(`(> ${name}: array<(vec4<)?)f32`);
  const place = `\\b${name}\\[(?:[^[\\]]|\\[[^[\\]]*\\])*\\]`;
  const declared = declaration.exec(code);
  const other = new RegExp(
    `&${name}\\b|${place}(?:(?:\\.\\w+|\\[[^\\]]*\\])+ =|(?: [-+*/%&|^]|<<|>>)=) `,
  ).exec(code);
  if (!declared || other)
    throw new KernelError(
      `${name} in f16`,
      other?.[0] ?? "no such buffer of f32",
      `reads of ${name}[i] and ${name}[i] = value`,
    );
  const [loaded, stored] = declared[2] ? ["vec4f", "vec4<f16>"] : ["f32", "f16"];
  const value = scale === 1 ? "$2" : `($2) * ${literal(scale)}`;
  return code
    .replace(declaration, "$1f16")
    .replace(new RegExp(`(${place}) = ([^;]*);`, "g"), `$1 = ${stored}(${value});`)
    .replace(new RegExp(`${place}(?! = )`, "g"), `${loaded}($&)`);
}
