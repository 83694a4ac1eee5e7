/** Properties of every kernel: its text compiles, its record matches the text, and bad specs are refused. */
import { assert } from "chai";
import { cpuKernels } from "../../kernels/cpu/index.js";
import { gpuKernels } from "../../kernels/gpu/index.js";
import * as kernels from "../../kernels/index.js";
import * as backward from "../../kernels/attention/matrices_backward.js";
import * as forward from "../../kernels/attention/matrices_forward.js";
import * as split from "../../kernels/matmul/split.js";
import * as matrices from "../../kernels/matmul/subgroup_matrices.js";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import type { Kernel } from "../../kernels/core/kernel.js";
import type { Device } from "../../engine/index.js";
import { testDevice } from "../support/device.js";
import { compilesAll } from "../support/platform.js";
import { FAMILIES, type Family } from "../support/kernel_specs.js";
import { assertRefused } from "../support/kernels.js";

/** Capabilities that decide the variant: kind of adapter, and no subgroups, subgroups of one size, or of several sizes. */
const CAPABILITIES: readonly Capabilities[] = [false, true].flatMap((software) =>
  [null, { min: 4, max: 4 }, { min: 8, max: 8 }, { min: 4, max: 128 }].flatMap((subgroups) =>
    [false, true].map((shaderF16) => ({
      ...{ ...baselineCapabilities, software, subgroups, shaderF16 },
      ...(software ? { cpu: cpuKernels } : { gpu: gpuKernels }),
    })),
  ),
);

/** The distinct kernels that a family makes of its specs on these devices; or only of specs that are no candidates. */
function variants({ cases }: Family, on = CAPABILITIES, candidates = true): Map<string, Kernel> {
  const byCode = new Map<string, Kernel>();
  for (const { make, candidate } of cases) {
    if (candidate && !candidates) continue;
    for (const capabilities of on) {
      const kernel = make(capabilities);
      byCode.set(kernel.code, kernel);
    }
  }
  return byCode;
}

/**
 * Those capabilities for which the device would be given kernels, by its subgroups, else as without: others it need only
 * understand, and the families' own tests run them.
 */
function ownOf({ capabilities: { software, subgroups } }: Device): readonly Capabilities[] {
  const own = (min?: number, max?: number): Capabilities[] =>
    CAPABILITIES.filter(
      (made) => made.software === software && made.subgroups?.min === min && made.subgroups?.max === max,
    );
  const same = own(subgroups?.min, subgroups?.max);
  return same.length > 0 ? same : own();
}

/** Throws what the device has against a kernel's text, without making a pipeline of it. */
async function validate({ gpu }: Device, { name, code }: Kernel): Promise<void> {
  gpu.pushErrorScope("validation");
  gpu.createShaderModule({ code, label: name });
  const error = await gpu.popErrorScope();
  assert.isNull(error, `${name}: ${error?.message}`);
}

const FEATURE_OF: Readonly<Record<string, string>> = { subgroups: "subgroups", f16: "shader-f16" };

/** Features that the shader text asks for. */
function featuresOf({ code }: Kernel): string[] {
  return [...code.matchAll(/^enable ([^;]+);/gm)]
    .flatMap((match) => match[1]!.split(","))
    .map((name) => FEATURE_OF[name.trim()] ?? name.trim());
}

/** A kernel with its quick form in place of the function that makes it. */
const made = ({ quick, ...kernel }: Kernel): object => ({ ...kernel, quick: quick && made(quick()) });

describe("every kernel", () => {
  it("is in the sweep", () => {
    const helpers =
      /Reference$|Tables$|^require|^threefry|^(baselineCapabilities|BYTES_PER_ELEMENT|KernelError|(matmul|attention)(Name|Splits|Variants)|alternativesOf|chosenVariant|matrixVariants|GRADIENT_SCALE|partialSums|THREEFRY|attention(Backward)?Tiles)$/;
    const made = [kernels, split, matrices, forward, backward]
      .flatMap((of) => Object.keys(of))
      .filter((name) => !helpers.test(name));
    assert.sameMembers(
      FAMILIES.map((family) => family.name),
      made,
    );
  });

  for (const family of FAMILIES) {
    it(`${family.name} compiles in all variants that this adapter allows @slow`, async () => {
      const device = await testDevice();
      const forbidden: string[] = [];
      const compiled: Promise<unknown>[] = [];
      const own = variants(family, ownOf(device), false);
      for (const kernel of variants(family).values()) {
        const missing = featuresOf(kernel).filter(
          (feature) => !device.gpu.features.has(feature as GPUFeatureName),
        );
        if (missing.length > 0) forbidden.push(`${kernel.name} (needs ${missing.join(", ")})`);
        else if (compilesAll && own.has(kernel.code)) compiled.push(device.pipeline(kernel, "the sweep"));
        else compiled.push(validate(device, kernel));
      }
      await Promise.all(compiled);
      device.throwLateError();
      if (!family.needsMatrices) assert.isNotEmpty(compiled);
      for (const line of forbidden) console.log(`      not on this adapter: ${line}`);
    });
  }

  for (const family of FAMILIES) {
    it(`${family.name} binds the declared buffers, in order, at most 8`, () => {
      for (const kernel of variants(family).values()) {
        const inText = [
          ...kernel.code.matchAll(
            /@group\((\d)\) @binding\((\d+)\) var<storage, (\w+)> (\w+): array<(?:vec4<)?(\w+)/g,
          ),
        ].map(([, group, binding, access, name, dtype]) => ({ group, binding, access, name, dtype }));
        assert.deepEqual(
          inText,
          kernel.bindings.map((b, i) => ({ group: "0", binding: String(i), ...b })),
          kernel.name,
        );
        assert.equal(
          kernel.code.match(/var<(storage|uniform)/g)?.length,
          kernel.bindings.length,
          kernel.name,
        );
        assert.isAtMost(kernel.bindings.length, 8, kernel.name);
        assert.include(
          kernel.bindings.map((b) => b.access),
          "read_write",
          kernel.name,
        );
      }
    });
    it(`${family.name} is a pure function with a readable name and possible counts`, () => {
      for (const { make } of family.cases)
        for (const capabilities of CAPABILITIES) {
          const kernel = make(capabilities);
          assert.deepEqual(made(make({ ...capabilities })), made(kernel));
          const quick = kernel.quick?.();
          if (quick) {
            const work = ({ bindings, flops, bytes }: Kernel): unknown => ({ bindings, flops, bytes });
            assert.deepEqual(work(quick), work(kernel), kernel.name);
            assert.notEqual(quick.code, kernel.code, kernel.name);
          }
          assert.match(kernel.name, /^[a-z][a-zA-Z0-9_()+]*$/);
          assert.isTrue(Number.isInteger(kernel.flops) && kernel.flops >= 0, `${kernel.name} flops`);
          assert.isTrue(Number.isInteger(kernel.bytes) && kernel.bytes >= 4, `${kernel.name} bytes`);
          for (const n of kernel.workgroups) assert.isTrue(Number.isInteger(n) && n >= 1, kernel.name);
          assert.notMatch(kernel.code, /undefined|NaN|Infinity|\[object/, kernel.name);
          assert.equal(kernel.code.match(/fn main\(/g)?.length, 1, kernel.name);
        }
    });
    if (family.sizes.length > 0)
      it(`${family.name} refuses sizes that are no positive integers`, () => {
        for (const size of family.sizes)
          for (const bad of [0, -1, 1.5, NaN, Infinity])
            assertRefused(
              () => family.cases[0]!.make(baselineCapabilities, { [size]: bad }),
              new RegExp(`${size} = ${bad}`),
            );
      });
    it(`${family.name} refuses buffers past the binding limit, and no others`, () => {
      for (const { make, largest } of family.cases) {
        const limited = (bytes: number) =>
          make({ ...baselineCapabilities, maxStorageBufferBindingSize: bytes });
        limited(4 * largest);
        assertRefused(() => limited(4 * largest - 1), /bytes per storage-buffer binding/);
      }
    });
    it(`${family.name} keeps dispatches within the limit or refuses`, () => {
      let refused = 0;
      for (const { make } of family.cases)
        for (const software of [false, true])
          for (const limit of [1, 2, 7]) {
            const made = software ? { cpu: cpuKernels } : { gpu: gpuKernels };
            const capabilities = { ...baselineCapabilities, software, ...made };
            const whole = make(capabilities).workgroups.reduce((a, b) => a * b, 1);
            const limited = { ...capabilities, maxComputeWorkgroupsPerDimension: limit };
            if (whole > limit ** 3) {
              assertRefused(() => make(limited), /workgroups/);
              refused++;
            } else if (whole <= limit) for (const n of make(limited).workgroups) assert.isAtMost(n, limit);
          }
      assert.isAbove(refused, 0, "no spec of the table is too large");
    });
  }
});
