/**
 * Measured kernel choice: times the variants of the kernels of matmul and attention that programs need, on the device that
 * will run them, and keeps the fastest. Programs that are compiled for `report.target` take them.
 */
import type { KernelChoices } from "../kernels/capabilities.js";
import { KernelError, type Kernel } from "../kernels/core/kernel.js";
import { alternativesOf, type Alternatives } from "../kernels/variants.js";
import type { Abortable } from "./abort.js";
import type { Device } from "./device.js";
import { GpuError } from "./errors.js";
import { launch, type Launch } from "./launch.js";
import { trialOf, type Trial } from "./trial_data.js";
import { createStopwatch, type Encode, type Reading, type Stopwatch } from "./stopwatch.js";
import { withChoices, type Target } from "./target.js";
import { labelled } from "./labels.js";

/** How long to measure, and what is known already. */
export interface AutotuneOptions extends Abortable {
  /** What the kernels were planned for; default: the device's target. */
  readonly target?: Target;
  /** Time for measuring, in seconds. Measuring ends with the first variant that is finished after that time. Default 10. */
  readonly seconds?: number;
  /** A variant must be faster than the default by this fraction of its time. Default 0.05. */
  readonly margin?: number;
  /** Choices of an earlier report for this device and version. The kernels that they name are not measured again. */
  readonly known?: KernelChoices;
  /** The stopwatch that measures; by default one on the device. `autotune` destroys it at the end. */
  readonly stopwatch?: Stopwatch;
}

/** A variant that was tried. */
export interface MeasuredVariant {
  /** Its name, as `KernelChoices` holds it. */
  readonly variant: string;
  /** Median time of a run in milliseconds; null if the variant was not timed to the end. */
  readonly ms: number | null;
  /** The reason if it was not timed: `slower` than others in a first pass, a `wrong result`, or the device's refusal. */
  readonly refused?: string;
}

/** A kernel with the variants that were tried, the default first. */
export interface MeasuredKernel {
  /** The kernel's name without its variant. */
  readonly kernel: string;
  /** The variant to use. */
  readonly chosen: string;
  /** Time of the default divided by the time of the chosen variant; 1 if the default stays. */
  readonly gain: number;
  /** Every variant with its time. */
  readonly variants: readonly MeasuredVariant[];
}

/** What was measured, and what to compile for. */
export interface AutotuneReport {
  /** A variant for every kernel that was measured or known: the default if no other is faster. */
  readonly choices: KernelChoices;
  /** The target with these choices, to compile for. */
  readonly target: Target;
  /** The products that were measured. */
  readonly measured: readonly MeasuredKernel[];
  /** Kernels that the time did not suffice for; they keep their default. */
  readonly unmeasured: readonly string[];
  /** Time that measuring took. */
  readonly seconds: number;
}

/** How long one timed pass should last: far above the 0.1 ms to which browsers and Dawn round timestamps. */
const PASS_MS = 10;
/** The most dispatches in a timed pass. */
const MOST_REPEATS = 1000;
/** Timed passes of each variant. */
const ROUNDS = 5;
/** How many variants are timed interleaved with the default: those with the fastest first pass. */
const FINALISTS = 3;

/**
 * Measures those of the kernels (`program.plan.dispatches`; a kernel that occurs often counts as often) that have variants.
 * Those with most work come first. Inputs are fresh. Every variant must agree with the default before it is timed, and the
 * variant that looks fastest must win a second time, interleaved with the default. Time that one kernel leaves goes to the
 * next.
 * @throws GpuError, DeviceLostError if the device fails, and the reason of the signal if that fires; nothing is chosen then
 */
export async function autotune(
  device: Device,
  kernels: Iterable<Kernel>,
  {
    target = device.target,
    seconds = 10,
    margin = 0.05,
    known = {},
    stopwatch = createStopwatch(device),
    signal,
  }: AutotuneOptions = {},
): Promise<AutotuneReport> {
  const start = performance.now();
  const choices: Record<string, string> = {};
  const work = new Map<string, { readonly alternatives: Alternatives; flops: number }>();
  for (const kernel of kernels) {
    const alternatives = alternativesOf(kernel, target.capabilities);
    if (!alternatives || alternatives.variants.length < 2) continue;
    const { key, variants } = alternatives;
    const variant = Object.hasOwn(known, key) ? known[key]! : "";
    if (variants.includes(variant)) choices[key] = variant;
    else work.set(key, { alternatives, flops: (work.get(key)?.flops ?? 0) + kernel.flops });
  }
  const products = [...work].sort(([, a], [, b]) => b.flops - a.flops);
  const total = products.reduce((sum, [, { flops }]) => sum + flops, 0);
  const measured: MeasuredKernel[] = [];
  const unmeasured: string[] = [];
  try {
    let done = 0;
    for (const [name, { alternatives, flops }] of products) {
      signal?.throwIfAborted();
      done += flops;
      const end = start + 1000 * seconds * (done / total);
      const result =
        performance.now() < end
          ? await measure(device, stopwatch, alternatives, { target, margin, end, signal })
          : null;
      if (result) {
        measured.push(result);
        choices[name] = result.chosen;
      } else unmeasured.push(name);
    }
  } finally {
    stopwatch.destroy();
  }
  return {
    ...{ choices, measured, unmeasured, target: withChoices(target, choices) },
    seconds: (performance.now() - start) / 1000,
  };
}

interface Candidate {
  readonly variant: string;
  readonly encode: Encode;
  readonly readings: Reading[];
}

/** Measures the variants of one kernel; null if the time ends before two were timed. */
async function measure(
  device: Device,
  stopwatch: Stopwatch,
  { key: kernel, variants: names, make, source }: Alternatives,
  {
    target: { capabilities },
    margin,
    end,
    signal,
  }: { readonly target: Target; readonly margin: number; readonly end: number } & Abortable,
): Promise<MeasuredKernel | null> {
  const trial = trialOf(source, capabilities);
  const launched = await launch(device, make(names[0]!), trial.buffers);
  try {
    const expected = await resultsOf(launched);
    const repeats = await repeatsFor(stopwatch, launched.encode);
    const pass = async ({ encode, readings }: Candidate): Promise<void> => {
      signal?.throwIfAborted();
      const reading = await stopwatch.time((encoder) => {
        for (let i = 0; i < repeats; i++) encode(encoder);
      });
      readings.push(reading);
    };
    const byDefault: Candidate = { variant: names[0]!, encode: launched.encode, readings: [] };
    await pass(byDefault);
    const others: Candidate[] = [];
    const refused: MeasuredVariant[] = [];
    for (const variant of names.slice(1)) {
      if (performance.now() >= end) break;
      const encode = await checked(device, launched, { make, variant, expected, trial });
      if (typeof encode === "string") {
        refused.push({ variant, ms: null, refused: encode });
        continue;
      }
      const candidate: Candidate = { variant, encode, readings: [] };
      await pass(candidate);
      others.push(candidate);
    }
    if (others.length + refused.length === 0) return null;
    others.sort((a, b) => medianOf(a) - medianOf(b));
    for (const { variant } of others.splice(FINALISTS))
      refused.push({ variant, ms: null, refused: "slower" });
    const candidates = [byDefault, ...others];
    await inTurns(candidates, pass);
    const times = candidates.map((c): MeasuredVariant => ({ variant: c.variant, ms: medianOf(c) / repeats }));
    const fastest = candidates.reduce((a, b) => (medianOf(b) < medianOf(a) ? b : a));
    let gain = medianOf(byDefault) / medianOf(fastest);
    const wins = () => gain >= 1 / (1 - margin);
    if (fastest !== byDefault && wins()) {
      // The best of many looks better than it is. A second comparison decides, pass by pass, because other work on the
      // machine slows down neighbouring passes alike.
      for (const candidate of [byDefault, fastest]) candidate.readings.length = 0;
      await inTurns([byDefault, fastest], pass);
      gain = median(byDefault.readings.map((r, i) => timeOf(r) / timeOf(fastest.readings[i]!)));
    }
    const chosen = fastest !== byDefault && wins() ? fastest : byDefault;
    return {
      kernel,
      chosen: chosen.variant,
      gain: chosen === byDefault ? 1 : gain,
      variants: [...times, ...refused],
    };
  } finally {
    launched.destroy();
  }
}

/** Dispatches that make a pass of about {@link PASS_MS}. */
async function repeatsFor(stopwatch: Stopwatch, encode: Encode): Promise<number> {
  let repeats = 1;
  for (;;) {
    const { gpu, wall } = await stopwatch.time((pass) => {
      for (let i = 0; i < repeats; i++) encode(pass);
    });
    // Too short for the GPU's clock: the wall clock overestimates.
    const ms = gpu || wall;
    const wanted = Math.min(MOST_REPEATS, Math.max(1, Math.ceil((repeats * PASS_MS) / ms)));
    if (wanted < 2 * repeats) return wanted;
    repeats = wanted;
  }
}

/** What the kernel wrote, by binding. */
async function resultsOf(launched: Launch): Promise<Record<string, Float32Array>> {
  const results = Object.entries(await launched.read());
  return Object.fromEntries(
    results.map(([name, words]) => [
      name,
      words instanceof Float32Array
        ? words
        : Float32Array.from({ length: 2 * words.length }, (_, i) => f16(words[i >> 1]! >>> (16 * (i % 2)))),
    ]),
  );
}

/** The f16 number in the lower 16 bits. */
function f16(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size =
    exponent === 0
      ? fraction * 2 ** -24
      : exponent < 31
        ? (1024 + fraction) * 2 ** (exponent - 25)
        : fraction
          ? NaN
          : Infinity;
  return bits & 0x8000 ? -size : size;
}

/** The variant over the same data, or why it was rejected: it must write every element, and agree with the default. */
async function checked(
  device: Device,
  launched: Launch,
  {
    make,
    variant,
    expected,
    trial,
  }: {
    readonly make: (variant: string) => Kernel;
    readonly variant: string;
    readonly expected: Readonly<Record<string, Float32Array>>;
    readonly trial: Trial;
  },
): Promise<Encode | string> {
  let encode: Encode;
  try {
    encode = await launched.variant(make(variant));
  } catch (error) {
    // The variant exceeds a limit, or the compiler gives up. The other variants may still work.
    if (error instanceof KernelError || error instanceof GpuError) return error.message;
    throw error;
  }
  for (const name of Object.keys(expected)) launched.write(name, trial.buffers[name]!);
  const encoder = device.gpu.createCommandEncoder({ label: labelled(variant) });
  const pass = encoder.beginComputePass();
  encode(pass);
  pass.end();
  await device.submit(encoder);
  const found = await resultsOf(launched);
  const agrees = Object.entries(expected).every(([name, values]) => {
    const allowed = trial.allowed(name, values);
    return values.every((value, i) => Math.abs(found[name]![i]! - value) <= allowed(value));
  });
  return agrees ? encode : "wrong result";
}

/** Times candidates interleaved, there and back (A B, B A, ...), so that drift hits all alike. */
async function inTurns(
  candidates: readonly Candidate[],
  pass: (c: Candidate) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < ROUNDS; round++)
    for (const candidate of round % 2 === 0 ? candidates : [...candidates].reverse()) await pass(candidate);
}

/** Milliseconds of a pass: by the GPU's clock, unless there is none or it ran backwards. */
const timeOf = ({ gpu, wall }: Reading): number => gpu || wall;

/** Median time of a candidate's passes, in milliseconds. */
const medianOf = ({ readings }: Candidate): number => median(readings.map(timeOf));

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

/**
 * The key under which choices are kept: everything that a device says of itself, and the version of this package, because
 * its variants may change. Stores are in `hrm-webgpu/node` (a file) and `hrm-webgpu/browser` (IndexedDB).
 */
export function choicesKey({ gpu }: Device, version: string): string {
  const { vendor, architecture, device, description } = gpu.adapterInfo;
  const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } = gpu.limits;
  return JSON.stringify({
    ...{ version, vendor, architecture, device, description },
    features: [...gpu.features].sort(),
    limits: { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup },
  });
}
