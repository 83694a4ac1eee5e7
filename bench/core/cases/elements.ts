/** Elementwise programs, moves, lookups, random bits and optimizer steps. */
import {
  adamAtan2,
  adamW,
  concat,
  elementwise,
  gatherRows,
  pad,
  randomBits,
  randomBitsReference,
  scatterAddRows,
  signSgd,
  stridedCopy,
  type ElementwiseSpec,
  type Kernel,
  type Capabilities,
} from "../../../kernels/index.js";
import {
  FUNCTION_TOLERANCE,
  sumTolerance,
  type Buffers,
  type Expected,
  type KernelCase,
} from "../kernel_case.js";
import type { RandomSource } from "../random.js";
import { MODEL_SHAPES, TRM_MIXER } from "./shapes.js";

/** The parts that differ between cases whose kernel has one alternative. */
interface Parts extends Pick<KernelCase, "kernel" | "shape" | "quick" | "inputs" | "outputs" | "expected"> {
  readonly build: (capabilities: Capabilities) => Kernel;
  readonly flops?: number;
  readonly tolerance?: number;
}

function single({ build, flops = 0, tolerance = 0, ...rest }: Parts): KernelCase {
  return {
    ...rest,
    flops,
    tolerance,
    alternatives: (capabilities) => [{ variant: "default", kernel: build(capabilities) }],
  };
}

const exactly = (value: number): Expected => ({ value, scale: 1 });

function additionCase(name: string, shape: readonly number[], quick: boolean): KernelCase {
  const size = shape.reduce((a, b) => a * b, 1);
  const spec: ElementwiseSpec = {
    shape,
    inputs: [
      { shape, dtype: "f32" },
      { shape, dtype: "f32" },
    ],
    statements: [{ operation: "add", operands: [{ input: 0 }, { input: 1 }], dtype: "f32" }],
    outputs: [{ value: 0 }],
  };
  return single({
    kernel: "elementwise_add",
    shape: `${name} ${shape.join("x")}`,
    quick,
    build: (capabilities) => elementwise(spec, capabilities),
    flops: size,
    inputs: (random) => ({ in0: random.floats(size), in1: random.floats(size) }),
    outputs: { out0: size },
    expected: ({ in0, in1 }, _binding, i) => exactly(Math.fround(in0![i]! + in1![i]!)),
  });
}

/** silu(x + bias) y: four operations and a broadcast in one kernel. */
function fusedCase(name: string, rows: number, size: number, quick: boolean): KernelCase {
  const shape = [rows, size];
  const spec: ElementwiseSpec = {
    shape,
    inputs: [
      { shape, dtype: "f32" },
      { shape: [size], dtype: "f32" },
      { shape, dtype: "f32" },
    ],
    statements: [
      { operation: "add", operands: [{ input: 0 }, { input: 1 }], dtype: "f32" },
      { operation: "silu", operands: [{ value: 0 }], dtype: "f32" },
      { operation: "mul", operands: [{ value: 1 }, { input: 2 }], dtype: "f32" },
    ],
    outputs: [{ value: 2 }],
  };
  return single({
    kernel: "elementwise_fused",
    shape: `${name} ${rows}x${size}`,
    quick,
    build: (capabilities) => elementwise(spec, capabilities),
    flops: 3 * rows * size,
    tolerance: FUNCTION_TOLERANCE,
    inputs: (random) => ({
      in0: random.floats(rows * size, -3, 3),
      in1: random.floats(size),
      in2: random.floats(rows * size),
    }),
    outputs: { out0: rows * size },
    expected({ in0, in1, in2 }, _binding, i) {
      const [x, b, y] = [in0![i]!, in1![i % size]!, in2![i]!];
      const s = 1 / (1 + Math.exp(-(x + b)));
      return { value: (x + b) * s * y, scale: (Math.abs(x) + Math.abs(b)) * Math.abs(y) * s + 1e-6 };
    },
  });
}

function transposeCase(rows: number, columns: number, quick: boolean, batch = 1): KernelCase {
  const size = rows * columns;
  return single({
    kernel: "transpose",
    shape: `${batch > 1 ? `${batch}x` : ""}${rows}x${columns}`,
    quick,
    build: (capabilities) =>
      stridedCopy(
        {
          shape: [...(batch > 1 ? [batch] : []), columns, rows],
          strides: [...(batch > 1 ? [size] : []), 1, columns],
          ...{ offset: 0, sourceElements: batch * size, dtype: "f32" },
        },
        capabilities,
      ),
    inputs: (random) => ({ x: random.floats(batch * size) }),
    outputs: { y: batch * size },
    expected({ x }, _binding, index) {
      const i = index % size;
      return exactly(x![index - i + (i % rows) * columns + Math.floor(i / rows)]!);
    },
  });
}

/** The concatenation of puzzle prefix and tokens along the sequence, and its gradient. */
function prefixCases(
  name: string,
  batch: number,
  length: number,
  width: number,
  quick: boolean,
): KernelCase[] {
  const whole = batch * length * width;
  return [
    single({
      kernel: "concat",
      shape: `${name} ${batch}x(1+${length - 1})x${width}`,
      quick,
      build: (capabilities) =>
        concat({ outer: batch, sizes: [1, length - 1], inner: width, dtype: "f32" }, capabilities),
      inputs: (random) => ({ x0: random.floats(batch * width), x1: random.floats(whole - batch * width) }),
      outputs: { y: whole },
      expected({ x0, x1 }, _binding, i) {
        const [row, within] = [Math.floor(i / (length * width)), i % (length * width)];
        return exactly(
          within < width ? x0![row * width + within]! : x1![row * (length - 1) * width + within - width]!,
        );
      },
    }),
    single({
      kernel: "pad",
      shape: `${name} ${batch}x(1+${length - 1})x${width}`,
      quick,
      build: (capabilities) =>
        pad(
          {
            shape: [batch, length, width],
            source: [batch, length - 1, width],
            start: [0, 1, 0],
            dtype: "f32",
          },
          capabilities,
        ),
      inputs: (random) => ({ x: random.floats(whole - batch * width) }),
      outputs: { y: whole },
      expected({ x }, _binding, i) {
        const [row, within] = [Math.floor(i / (length * width)), i % (length * width)];
        return exactly(within < width ? 0 : x![row * (length - 1) * width + within - width]!);
      },
    }),
  ];
}

function gatherCase(name: string, rows: number, size: number, tableRows: number, quick: boolean): KernelCase {
  return single({
    kernel: "gather_rows",
    shape: `${name} ${rows}x${size} of ${tableRows}`,
    quick,
    build: (capabilities) => gatherRows({ rows, size, tableRows, dtype: "f32" }, capabilities),
    inputs: (random) => ({
      table: random.floats(tableRows * size),
      indices: random.integers(rows, 0, tableRows),
    }),
    outputs: { y: rows * size },
    expected: ({ table, indices }, _binding, i) =>
      exactly(table![indices![Math.floor(i / size)]! * size + (i % size)]!),
  });
}

function scatterCase(
  name: string,
  rows: number,
  size: number,
  tableRows: number,
  quick: boolean,
): KernelCase {
  return single({
    kernel: "scatter_add_rows",
    shape: `${name} ${rows}x${size} to ${tableRows}`,
    quick,
    build: (capabilities) => scatterAddRows({ rows, size, tableRows }, capabilities),
    flops: rows * size,
    tolerance: sumTolerance(rows),
    inputs: (random) => ({
      dy: random.floats(rows * size),
      indices: random.integers(rows, 0, tableRows),
    }),
    outputs: { d_table: tableRows * size },
    expected({ dy, indices }, _binding, i) {
      let value = 0;
      let scale = 1e-30;
      for (let n = 0; n < rows; n++) {
        if (indices![n] !== Math.floor(i / size)) continue;
        value += dy![n * size + (i % size)]!;
        scale += Math.abs(dy![n * size + (i % size)]!);
      }
      return { value, scale };
    },
  });
}

function randomCase(count: number, quick: boolean): KernelCase {
  const spec = { count, stream: 3 };
  let reference: { key: string; bits: Uint32Array } | null = null;
  return single({
    kernel: "random_bits",
    shape: `${count}`,
    quick,
    build: (capabilities) => randomBits(spec, capabilities),
    inputs: (random) => ({ key: Uint32Array.from(random.integers(2, 0, 2 ** 31 - 1)) }),
    outputs: { bits: count },
    expected({ key }, _binding, i) {
      const name = key!.join();
      if (reference?.key !== name)
        reference = { key: name, bits: randomBitsReference(spec, [key![0]!, key![1]!]) };
      return exactly(reference.bits[i]!);
    },
  });
}

const ADAM = { beta1: 0.9, beta2: 0.95, weightDecay: 0.1 };
const EPSILON = 1e-8;
const EMA_DECAY = 0.999;

/** lr, both bias corrections at the given step, EMA decay. */
function hyper(step: number): Float32Array {
  return Float32Array.of(
    1e-3,
    1 / (1 - ADAM.beta1 ** step),
    1 / Math.sqrt(1 - ADAM.beta2 ** step),
    EMA_DECAY,
  );
}

function adamInputs(random: RandomSource, count: number, ema: boolean): Buffers {
  return {
    p: random.floats(count),
    m: random.floats(count, -0.1, 0.1),
    v: random.floats(count, 0, 0.01),
    g: random.floats(count),
    hyper: hyper(7),
    ...(ema && { ema: random.floats(count) }),
  };
}

function adamCase(family: "adam_atan2" | "adam_w", name: string, count: number, quick: boolean): KernelCase {
  const ema = family === "adam_atan2";
  return single({
    kernel: ema ? `${family}_ema` : family,
    shape: `${name} ${count}`,
    quick,
    build: (capabilities) =>
      ema
        ? adamAtan2({ count, ...ADAM, ema }, capabilities)
        : adamW({ count, ...ADAM, epsilon: EPSILON }, capabilities),
    flops: 13 * count,
    tolerance: FUNCTION_TOLERANCE,
    inputs: (random) => adamInputs(random, count, ema),
    outputs: {},
    expected(inputs, binding, i) {
      const [p, m, v, g] = ["p", "m", "v", "g"].map((x) => inputs[x]![i]!) as [
        number,
        number,
        number,
        number,
      ];
      const [lr, first, second, decay] = inputs["hyper"]! as unknown as [number, number, number, number];
      const m1 = m + (g - m) * (1 - ADAM.beta1);
      const v1 = v + (g * g - v) * (1 - ADAM.beta2);
      const root = Math.sqrt(v1) * second;
      const step = ema ? first * Math.atan2(m1, root) : (m1 * first) / (root + EPSILON);
      const p1 = p * (1 - lr * ADAM.weightDecay) - lr * step;
      const average = inputs["ema"]?.[i] ?? 0;
      const value = { p: p1, m: m1, v: v1, ema: average + (p1 - average) * (1 - decay) }[binding]!;
      const scale = {
        p: Math.abs(p) + lr * Math.abs(step),
        m: Math.abs(m) + Math.abs(g),
        v: v + g * g,
        ema: Math.abs(average) + Math.abs(p1),
      }[binding]!;
      return { value, scale };
    },
  });
}

function signSgdCase(batch: number, size: number, tableRows: number, quick: boolean): KernelCase {
  const weightDecay = 0.1;
  return single({
    kernel: "sign_sgd",
    shape: `${batch}x${size} of ${tableRows}`,
    quick,
    build: (capabilities) => signSgd({ tableRows, size, batch, weightDecay }, capabilities),
    flops: 5 * batch * size,
    tolerance: sumTolerance(4),
    inputs: (random) => ({
      weights: random.floats(tableRows * size),
      ids: random.integers(batch, 0, tableRows),
      g: random.floats(batch * size),
      hyper: Float32Array.of(1e-2, 0, 0, 0),
    }),
    outputs: {},
    expected({ weights, ids, g, hyper }, _binding, i) {
      let total = 0;
      let hit = false;
      for (let b = 0; b < batch; b++) {
        if (ids![b] !== Math.floor(i / size)) continue;
        hit = true;
        total = Math.fround(total + g![b * size + (i % size)]!);
      }
      const [w, lr] = [weights![i]!, hyper![0]!];
      const value = hit ? w * (1 - lr * weightDecay) - lr * Math.sign(total) : w;
      return { value, scale: Math.abs(w) + lr };
    },
  });
}

/** Every case of these families. */
export const elementCases: readonly KernelCase[] = [
  ...MODEL_SHAPES.flatMap(({ name, batch, length, width, inner, classes, quick }) => [
    additionCase(name, [batch * length, width], quick),
    fusedCase(name, batch * length, width, quick),
    ...prefixCases(name, batch, length, width, quick && name === "small"),
    gatherCase(`${name} tokens`, batch * length, width, classes, quick),
    scatterCase(`${name} tokens`, batch * length, width, classes, quick),
    adamCase("adam_atan2", `${name} gate_up`, 2 * inner * width, quick),
  ]),
  additionCase("stream", [1 << 22], false),
  transposeCase(2592, 128, true),
  transposeCase(1024, 1027, false),
  transposeCase(TRM_MIXER.length, TRM_MIXER.width, false, TRM_MIXER.batch),
  gatherCase("vocabulary", 2592, 512, 32000, false),
  adamCase("adam_w", "million", 1 << 20, true),
  signSgdCase(32, 512, 1000, true),
  randomCase(1 << 20, true),
];
