/** What the types of programs refuse. `tsc` fails if a line below an `@ts-expect-error` compiles. */
import {
  assign,
  cast,
  compile,
  f32,
  i32,
  sum,
  typed,
  type Device,
  type Program,
  type Variable,
} from "../../engine/index.js";

declare const device: Device;
declare const total: Variable;

export async function programs(): Promise<void> {
  const program = await compile(device, { x: f32(2, 3), n: i32(1) }, ({ x, n }) => ({
    y: typed(sum(x), f32()),
    label: typed(cast(x, "i32"), i32(2, 3)),
    any: cast(n, "f32"),
  }));
  const [x, n] = [new Float32Array(6), new Int32Array(1)];
  await program.run({ x, n });
  await program.run({ x });
  // @ts-expect-error no input has this name
  await program.run({ z: x });
  // @ts-expect-error x takes a Float32Array
  await program.run({ x: n });
  // @ts-expect-error call() needs every input
  await program.call({ x });
  const outputs = await program.call({ x, n });
  const y: Float32Array = outputs.y;
  const label: Int32Array = outputs.label;
  // @ts-expect-error an untyped output may be of any dtype
  const any: Float32Array = outputs.any;
  // @ts-expect-error the program has no such output
  void outputs.z;
  // @ts-expect-error the program has no such output
  await program.read("z");
  const kept: Variable = (await program.callOnGpu({ x, n })).y;
  // @ts-expect-error the program has no such output
  void (await program.callOnGpu({ x, n })).z;
  const read: Int32Array = await program.read("label");
  const shape: readonly [2, 3] = program.plan.inputs.x.shape;
  const wide: Program = program;

  const silent = await compile(device, {}, () => {
    assign(total, 0);
  });
  await silent.run();
  // @ts-expect-error the program has no input
  await silent.run({ x });
  // @ts-expect-error the program has no output
  await silent.read("y");

  await compile(device, { x: f32(2) }, ({ x: input }) => ({
    // @ts-expect-error the spec is one of another dtype
    y: typed(input, f32(2)) satisfies { readonly dtype: "i32" },
  }));
  void [y, label, any, kept, read, shape, wide];
}
