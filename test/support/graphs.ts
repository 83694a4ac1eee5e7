/**
 * Random programs whose arithmetic is exact: every value is a small integer, so that fused, planned and in-place
 * execution must agree with evaluation of one operation at a time to the last bit, whatever the device contracts.
 */
import {
  abs,
  add,
  assign,
  cast,
  compile,
  concat,
  constant,
  f32,
  less,
  matmul,
  max,
  min,
  mul,
  neg,
  read,
  remainder,
  reshape,
  slice,
  sub,
  sum,
  transpose,
  variable,
  where,
  type Device,
  type Program,
  type Shape,
  type Tensor,
  type TypedArray,
  type Variable,
} from "../../engine/index.js";
import { assert } from "chai";
import { randomIntegers, uniform } from "./random.js";

/** Reads values and the variables' state by index; makes one value or changes one variable. */
type Step =
  | {
      readonly kind: "value";
      readonly from: readonly number[];
      readonly make: (x: readonly Tensor[]) => Tensor;
    }
  | { readonly kind: "read"; readonly variable: number }
  | { readonly kind: "assign"; readonly variable: number; readonly from: number };

/** A random program over inputs and variables, all of 2 to 3 dimensions and at most some dozen elements. */
export interface RandomProgram {
  readonly inputs: readonly Shape[];
  readonly variables: readonly Shape[];
  readonly steps: readonly Step[];
  /** Indices of the values that are outputs. */
  readonly outputs: readonly number[];
}

const pick = <T>(values: readonly T[]): T => values[Math.floor(uniform() * values.length)]!;
const sizeOf = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);

/** Keeps values within -6..6. */
const small = (x: Tensor): Tensor => cast(remainder(cast(x, "i32"), 7), "f32");

const UNARY: readonly ((x: Tensor) => Tensor)[] = [
  neg,
  abs,
  (x) => small(mul(x, x)),
  (x) => add(x, 1),
  (x) => transpose(x),
  (x) => sum(x, { axes: [0], keepDims: true }),
  (x) => sum(x, { axes: [-1], keepDims: true }),
  (x) => reshape(x, [x.shape.at(-1)!, ...x.shape.slice(0, -1)]),
  (x) => reshape(x, [1, -1]),
  (x) =>
    slice(
      x,
      x.shape.map((n) => (n > 1 ? 1 : 0)),
      x.shape.map((n) => Math.max(1, n - 1)),
    ),
  (x) => concat([x, neg(x)], 0),
];
const BINARY: readonly ((a: Tensor, b: Tensor) => Tensor)[] = [
  add,
  sub,
  mul,
  max,
  min,
  (a, b) => where(less(a, b), a, b),
  (a, b) => sub(mul(a, b), a),
];

/** Draws a program of `length` steps. */
export function randomProgram(length: number): RandomProgram {
  const shapes: Shape[] = [
    [3, 4],
    [3, 4],
    [1, 4],
    [4, 4],
  ];
  const variables: Shape[] = [
    [3, 4],
    [3, 4],
    [4, 4],
  ];
  const known: Shape[] = [...shapes];
  const steps: Step[] = [];
  while (steps.length < length) {
    const draw = uniform();
    if (draw < 0.15) {
      const index = Math.floor(uniform() * variables.length);
      steps.push({ kind: "read", variable: index });
      known.push(variables[index]!);
      continue;
    }
    if (draw < 0.3) {
      const index = Math.floor(uniform() * variables.length);
      const fitting = known.flatMap((s, i) => (s.join() === variables[index]!.join() ? [i] : []));
      steps.push({ kind: "assign", variable: index, from: pick(fitting) });
      continue;
    }
    // Recent values more often, so that chains form.
    const any = (): number =>
      uniform() < 0.6
        ? known.length - 1 - Math.floor(uniform() * Math.min(4, known.length))
        : Math.floor(uniform() * known.length);
    const a = any();
    if (draw < 0.6) {
      const f = pick(UNARY);
      push([a], ([x]) => small(f(x!)));
      continue;
    }
    const b = any();
    const [from, to] = [known[a]!, known[b]!];
    if (draw < 0.7 && from.at(-1) === to[0]) push([a, b], ([x, y]) => small(matmul(x!, y!)));
    else if (broadcasts(from, to)) {
      const f = pick(BINARY);
      push([a, b], ([x, y]) => small(f(x!, y!)));
    }
  }
  const outputs = known.map((_, i) => i).filter((i) => i === known.length - 1 || uniform() < 0.1);
  return { inputs: shapes, variables, steps, outputs };

  function push(from: number[], make: (x: readonly Tensor[]) => Tensor): void {
    const shape = make(from.map((i) => constant(new Float32Array(sizeOf(known[i]!)), known[i]))).shape;
    if (sizeOf(shape) > 64) return;
    steps.push({ kind: "value", from, make });
    known.push(shape);
  }
}

function broadcasts(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, k) => n === b[k] || n === 1 || b[k] === 1);
}

/** The program compiled as a whole, with its variables. */
export async function compileRandom(
  device: Device,
  program: RandomProgram,
): Promise<{ compiled: Program; variables: Variable[] }> {
  const variables = program.variables.map((shape, i) => variable(device, { shape, dtype: "f32" }, `v${i}`));
  const specs = Object.fromEntries(program.inputs.map((shape, i) => [`x${i}`, f32(...shape)]));
  const compiled = await compile(
    device,
    specs,
    (inputs) => {
      const values = program.inputs.map((_, i) => inputs[`x${i}`]!);
      for (const step of program.steps) {
        if (step.kind === "assign") assign(variables[step.variable]!, values[step.from]!);
        else if (step.kind === "read")
          values.push(reshape(variables[step.variable]!, program.variables[step.variable]!));
        else values.push(step.make(step.from.map((i) => values[i]!)));
      }
      return Object.fromEntries(program.outputs.map((i) => [`y${i}`, values[i]!]));
    },
    { name: "random program" },
  );
  return { compiled, variables };
}

/** One run on values, one operation at a time; changes `state` as the program changes its variables. */
export async function evaluateOneByOne(
  device: Device,
  program: RandomProgram,
  inputs: readonly TypedArray[],
  state: Float32Array[],
): Promise<Record<string, TypedArray>> {
  const values = inputs.map((data, i) => ({ data, shape: program.inputs[i]! }));
  for (const step of program.steps) {
    if (step.kind === "assign") state[step.variable] = values[step.from]!.data as Float32Array;
    else if (step.kind === "read")
      values.push({ data: state[step.variable]!, shape: program.variables[step.variable]! });
    else {
      const tensor = step.make(step.from.map((i) => constant(values[i]!.data, values[i]!.shape)));
      values.push({ data: await read(device, tensor), shape: tensor.shape });
    }
  }
  return Object.fromEntries(program.outputs.map((i) => [`y${i}`, values[i]!.data]));
}

/** Compiles and runs a random program `runs` times on fresh inputs and compares everything with one-by-one evaluation. */
export async function checkRandomProgram(device: Device, length: number, runs: number): Promise<Program> {
  const program = randomProgram(length);
  const { compiled, variables } = await compileRandom(device, program);
  const state = program.variables.map((shape) => Float32Array.from(randomIntegers(sizeOf(shape), -6, 7)));
  variables.forEach((v, i) => v.write(state[i]!));
  for (let run = 0; run < runs; run++) {
    const inputs = program.inputs.map((shape) => Float32Array.from(randomIntegers(sizeOf(shape), -6, 7)));
    await compiled.run(Object.fromEntries(inputs.map((data, i) => [`x${i}`, data])));
    const expected = await evaluateOneByOne(device, program, inputs, state);
    for (const [name, data] of Object.entries(expected))
      assert.deepEqual(
        [...(await compiled.read(name))],
        [...data],
        `${name} of run ${run}\n${compiled.explain()}`,
      );
    for (const [i, v] of variables.entries())
      assert.deepEqual(
        [...(await v.read())],
        [...state[i]!],
        `${v.name} after run ${run}\n${compiled.explain()}`,
      );
  }
  compiled.destroy();
  for (const v of variables) v.destroy();
  return compiled;
}
