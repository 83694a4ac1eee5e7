/**
 * Programs at work: runs, pipelines, misuse, late errors and loss of the device. The file is longer than 400 lines because
 * most of its tests run one small training step.
 */
import { assert } from "chai";
import {
  add,
  AdapterError,
  assign,
  compile,
  constant,
  type Device,
  DeviceLostError,
  exp,
  f32,
  grad,
  GpuError,
  hostTensor,
  isSoftwareAdapter,
  linear,
  matmul,
  mean,
  mul,
  openDevice,
  read,
  refuseNullAdapter,
  runSequence,
  scale,
  square,
  sub,
  sum,
  ShapeError,
  UsageError,
  variable,
  type DeviceStats,
  type Program,
  type Variable,
} from "../../engine/index.js";
import type { Kernel } from "../../kernels/core/kernel.js";
import { testDevice } from "../support/device.js";
import { openTestDevice } from "../support/platform.js";
import { assertClose, random } from "../support/random.js";

/** A small training step: y = x w^T, mean squared error, gradient descent. */
async function descent(device: Device): Promise<{ step: Program; w: Variable }> {
  const w = variable(device, hostTensor(random(12), [3, 4]), "w");
  const step = await compile(
    device,
    { x: f32(8, 4), y: f32(8, 3) },
    ({ x, y }) => {
      const loss = mean(square(sub(linear(x, w), y)));
      assign(w, sub(w, scale(grad(loss, w), 0.1)));
      return { loss };
    },
    { name: "descent" },
  );
  return { step, w };
}

const batch = (): Record<"x" | "y", Float32Array> => ({ x: random(32), y: random(24) });

/** How much each counter grew. */
function since(before: DeviceStats, now: DeviceStats): DeviceStats {
  return Object.fromEntries(
    Object.entries(now).map(([key, value]) => [key, value - before[key as keyof DeviceStats]]),
  ) as unknown as DeviceStats;
}

/** The error that a promise rejects with. */
async function rejection(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => assert.fail("expected a rejection"),
    (error: unknown) => error as Error,
  );
}

/** Runs with a device of its own, and frees it. */
async function withDevice(body: (device: Device) => Promise<void>): Promise<void> {
  const device = await openTestDevice();
  try {
    await body(device);
  } finally {
    device.destroy();
  }
}

describe("a program's runs", () => {
  it("create nothing, read nothing, and submit once each", async () => {
    const device = await testDevice();
    const { step, w } = await descent(device);
    await step.run(batch());
    const before = { ...device.stats };
    for (let i = 0; i < 40; i++) await step.run(batch());
    const grown = since(before, device.stats);
    assert.deepEqual(grown, {
      buffersCreated: 0,
      buffersLive: 0,
      bytesLive: 0,
      bytesPeak: 0,
      pipelinesCreated: 0,
      pipelinesReady: 0,
      submits: 40,
      dispatches: 40 * step.plan.dispatches.length,
      readbacks: 0,
    });
    step.destroy();
    w.destroy();
  });

  it("share a command buffer with run(times)", async () => {
    const device = await testDevice();
    const { step, w } = await descent(device);
    const before = { ...device.stats };
    await step.run(batch(), 7);
    assert.equal(device.stats.submits - before.submits, 1);
    assert.equal(device.stats.dispatches - before.dispatches, 7 * step.plan.dispatches.length);
    step.destroy();
    w.destroy();
  });

  it("descend as float64 says", async () => {
    const device = await testDevice();
    const { step, w } = await descent(device);
    const { x, y } = batch();
    let expected = Float64Array.from(await w.read());
    for (let run = 0; run < 5; run++) {
      const next = expected.slice();
      let loss = 0;
      for (let m = 0; m < 8; m++) {
        for (let n = 0; n < 3; n++) {
          let e = -y[m * 3 + n]!;
          for (let k = 0; k < 4; k++) e += x[m * 4 + k]! * expected[n * 4 + k]!;
          loss += (e * e) / 24;
          for (let k = 0; k < 4; k++) next[n * 4 + k]! -= (0.1 * 2 * e * x[m * 4 + k]!) / 24;
        }
      }
      expected = next;
      await step.run({ x, y });
      // Sums of 24 terms below 10.
      assertClose(await step.read("loss"), [loss], 1e-5, "loss");
      assertClose(await w.read(), expected, 1e-6 * (run + 1), "w");
    }
    step.destroy();
    w.destroy();
  });

  it("run in sequence, each repetition on its own part of a variable", async () => {
    const device = await testDevice();
    const live = device.stats.bytesLive;
    const x = variable(device, hostTensor(Float32Array.from([...Array(24).keys()]), [6, 4]), "x", 3);
    const total = variable(device, f32(1), "total");
    assert.deepEqual([x.shape, x.whole.shape, x.size], [[2, 4], [6, 4], 8]);
    assert.equal(device.stats.bytesLive - live, 4 * 24 + 16);
    // x_k = 2 x_k + total, total = total + sum(x_k); then total = -total.
    const part = await compile(device, {}, () => {
      assign(x, add(mul(x, 2), total));
      assign(total, add(total, sum(x)));
    });
    const rest = await compile(device, {}, () => assign(total, mul(total, -1)));
    const { submits, dispatches } = device.stats;
    await runSequence(
      [
        [part, 3],
        [rest, 1],
      ],
      2,
    );
    assert.equal(device.stats.submits - submits, 1);
    const each = 3 * part.plan.dispatches.length + rest.plan.dispatches.length;
    assert.equal(device.stats.dispatches - dispatches, 2 * each);
    const expected = [...Array(24).keys()];
    let sums = 0;
    for (let round = 0; round < 2; round++) {
      for (let k = 0; k < 3; k++) {
        for (let i = 8 * k; i < 8 * k + 8; i++) expected[i] = 2 * expected[i]! + sums;
        sums += expected.slice(8 * k, 8 * k + 8).reduce((a, b) => a + b);
      }
      sums = -sums;
    }
    // Integers that f32 holds.
    assert.deepEqual([...(await x.read())], expected);
    assert.deepEqual([...(await total.read())], [sums]);
    x.write(Float32Array.from(expected).reverse());
    assert.deepEqual([...(await x.read())], expected.reverse());
    assert.throws(
      () => variable(device, f32(6, 4), "x", 4),
      ShapeError,
      /a part of variable x: shape \[1\.5, 4\]/,
    );
    for (const v of [x, total]) v.destroy();
    assert.equal((await rejection(runSequence([[part, 1]]))).message.includes("was destroyed"), true);
    for (const p of [part, rest]) p.destroy();
    assert.equal(device.stats.bytesLive, live);
  });

  it("leave no bytes behind once everything is destroyed", async () => {
    const device = await testDevice();
    const { bytesLive, buffersLive } = device.stats;
    const { step, w } = await descent(device);
    await step.run(batch());
    await step.read("loss");
    await read(device, mul(w, 2));
    assert.isAbove(device.stats.bytesLive, bytesLive);
    step.destroy();
    step.destroy();
    w.destroy();
    w.destroy();
    assert.deepEqual([device.stats.bytesLive, device.stats.buffersLive], [bytesLive, buffersLive]);
  });

  it("are at most K in flight", async () => {
    await withDevice(async ({ gpu }) => {
      const device = await openDevice({ device: gpu, maxInFlight: 3 });
      let inFlight = 0;
      let most = 0;
      const { queue } = gpu;
      const submit = queue.submit.bind(queue);
      queue.submit = (commands) => {
        submit(commands);
        most = Math.max(most, ++inFlight);
        void queue.onSubmittedWorkDone().then(() => inFlight--);
        return undefined;
      };
      const { step } = await descent(device);
      for (let i = 0; i < 30; i++) await step.run(batch(), 3);
      await device.idle();
      assert.isAtMost(most, 3);
      assert.isAtLeast(most, 2, "runs overlap");
      assert.equal(device.stats.submits, 30);
    });
  });

  it("split runs that would keep a slow device busy for too long, with the same results", async () => {
    await withDevice(async ({ gpu }) => {
      const whole = await openDevice({ device: gpu });
      // So little time that every dispatch is a submission of its own.
      const split = await openDevice({ device: gpu, maxSubmissionMs: 1e-9 });
      const start = random(12);
      const { x, y } = batch();
      const results: Float32Array[] = [];
      for (const device of [whole, split]) {
        const { step, w } = await descent(device);
        w.write(start);
        const before = device.stats.submits;
        // Not awaited one by one: the order of the calls is kept.
        await Promise.all([step.run({ x, y }, 3), step.run({}, 2)]);
        const submits = device.stats.submits - before;
        assert.equal(submits, device === whole ? 2 : 5 * step.plan.dispatches.length);
        results.push((await w.read()) as Float32Array);
      }
      assert.deepEqual([...results[1]!], [...results[0]!]);
    });
  });

  it("are explained dispatch by dispatch: kernel, shapes, work and buffers", async () => {
    const device = await testDevice();
    const { step, w } = await descent(device);
    const text = step.explain();
    const list = step.dispatchList();
    assert.equal(list.length, step.plan.dispatches.length);
    for (const [i, { kernel, bindings, workgroups, flops, bytes }] of step.plan.dispatches
      .map(({ kernel }) => ({ ...kernel, kernel: kernel.name }))
      .entries()) {
      assert.equal(list[i]!.kernel, kernel);
      assert.deepEqual(list[i]!.workgroups, workgroups);
      assert.deepEqual([list[i]!.flops, list[i]!.bytes], [flops, bytes]);
      assert.equal(list[i]!.buffers.length, bindings.length);
      assert.include(text, kernel);
    }
    for (const part of [
      /descent: \d+ dispatches/,
      /inputs x f32\[8, 4\], y f32\[8, 3\]/,
      /matmul\(f32\[8, 4\], f32\[3, 4\]\) -> f32\[8, 3\]/,
      /input x \| variable w \| \*slot \d/,
      /\*variable w/,
      /\*output loss/,
      /memory \d+ bytes of intermediates in \d+ slots/,
    ])
      assert.match(text, part);
    assert.equal(list.reduce((sum, d) => sum + d.flops, 0) / 1e6 > 0, true);
    step.destroy();
    w.destroy();
  });
});

describe("pipelines", () => {
  it("are compiled once per kernel, even concurrently and for several programs", async () => {
    await withDevice(async (device) => {
      const same = (): Promise<Program> =>
        compile(device, { x: f32(4, 4) }, ({ x }) => ({ y: matmul(exp(matmul(x, x)), x) }));
      const programs = await Promise.all([same(), same(), same()]);
      const kernels = new Set(programs.flatMap((p) => p.plan.dispatches.map((d) => d.kernel.code)));
      assert.equal(kernels.size, 2);
      assert.equal(device.stats.pipelinesCreated, 2);
      assert.equal(device.stats.pipelinesReady, 2);
      await same();
      assert.equal(device.stats.pipelinesCreated, 2);
    });
  });

  it("that do not compile reject, naming kernel and operation, and leave nothing behind", async () => {
    const device = await testDevice();
    const broken: Kernel = {
      name: "broken_4x4",
      code: "@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }",
      bindings: [],
      workgroups: [1, 1, 1],
      flops: 0,
      bytes: 0,
    };
    for (let i = 0; i < 2; i++) {
      const error = await rejection(device.pipeline(broken, "matmul(f32[4, 4], f32[4, 4])"));
      assert.instanceOf(error, GpuError);
      assert.match(error.message, /broken_4x4 for matmul\(f32\[4, 4\], f32\[4, 4\]\).*1\.5/s);
    }
    await device.idle();
    assert.deepEqual([...(await read(device, constant([1])))], [1]);
  });
});

describe("misuse of compiled programs", () => {
  it("is an error that names inputs of a wrong name, size or dtype, and unknown outputs", async () => {
    const device = await testDevice();
    const { step, w } = await descent(device);
    const before = [...(await w.read())];
    const cases: [Promise<unknown>, RegExp][] = [
      [step.run({ z: random(4) }), /descent\.run: no input "z"; this program takes x, y/],
      [step.run({ x: random(31) }), /input x: got Float32Array\(31\); expected 32 elements for f32\[8, 4\]/],
      [step.run({ x: new Int32Array(32) }), /input x: got Int32Array\(32\)/],
      [step.run({ ...batch(), y: random(1) }), /input y: got Float32Array\(1\)/],
      [step.run({}, 0), /times = 0/],
      [step.run({}, 1.5), /times = 1.5/],
      [step.read("nothing"), /descent\.read: no output "nothing"; this program has loss/],
    ];
    for (const [promise, message] of cases) {
      const error = await rejection(promise);
      assert.instanceOf(error, UsageError);
      assert.match(error.message, message);
    }
    assert.deepEqual([...(await w.read())], before, "a refused run changes nothing");
    assert.throws(() => w.write(random(11)), UsageError, /variable w: got Float32Array\(11\); expected 12/);
    assert.throws(() => w.write(new Uint32Array(12)), UsageError, /Uint32Array\(12\)/);
    step.destroy();
    w.destroy();
  });

  it("is an error for programs and variables after destroy()", async () => {
    const device = await testDevice();
    const { step, w } = await descent(device);
    w.destroy();
    assert.match((await rejection(step.run(batch()))).message, /variable w was destroyed/);
    assert.match((await rejection(w.read())).message, /variable w was destroyed/);
    assert.throws(() => w.write(random(12)), UsageError, /destroyed/);
    assert.throws(
      () => void compile(device, {}, () => ({ y: mul(w, 2) })),
      UsageError,
      /variable w was destroyed/,
    );
    step.destroy();
    assert.match((await rejection(step.run(batch()))).message, /descent\.run: the program was destroyed/);
    assert.match((await rejection(step.read("loss"))).message, /descent\.read: the program was destroyed/);
  });

  it("is an error for variables of another device", async () => {
    await withDevice(async (other) => {
      const device = await testDevice();
      const w = variable(other, hostTensor(random(2), [2]), "w");
      assert.throws(
        () => void compile(device, {}, () => ({ y: mul(w, 2) })),
        UsageError,
        /variable w lives on another device/,
      );
    });
  });
});

describe("late reports of the device", () => {
  it("makes the next awaited call reject once, naming program and buffer", async () => {
    await withDevice(async (device) => {
      const { step, w } = await descent(device);
      await step.run(batch());
      await device.idle();
      // Behind the engine's back.
      w.buffers[0]!.destroy();
      const error = await rejection(step.run(batch()).then(() => device.idle()));
      assert.instanceOf(error, GpuError);
      assert.match(error.message, /The GPU reported:.*w/s);
      assert.match(error.message, /descent/);
      await device.idle();
    });
  });

  it("tells a loss by an event, then by a typed error from every call, and a new device goes on", async () => {
    const device = await openTestDevice();
    const { step, w } = await descent(device);
    await step.run(batch());
    const saved = await w.read();
    device.gpu.destroy();
    const lost = await device.lost;
    assert.instanceOf(lost, DeviceLostError);
    assert.equal(lost.reason, "destroyed");
    assert.match(lost.message, /Open a new device and load the last checkpoint/);
    const calls: (() => Promise<unknown>)[] = [
      () => step.run(batch()),
      () => step.read("loss"),
      () => w.read(),
      () => device.idle(),
      () => compile(device, {}, () => ({ y: constant([1, 2]) })),
      () => read(device, constant([1])),
    ];
    for (const call of calls) assert.instanceOf(await rejection(call()), DeviceLostError, call.toString());
    step.destroy();
    w.destroy();
    await withDevice(async (next) => {
      const again = await descent(next);
      again.w.write(saved);
      assert.deepEqual([...(await again.w.read())], [...saved]);
      await again.step.run(batch());
      await next.idle();
    });
  });

  it("tells a loss in the middle of a call from a failed read", async () => {
    const device = await openTestDevice();
    const { step, w } = await descent(device);
    const reading = step.run(batch()).then(() => w.read());
    device.gpu.destroy();
    assert.instanceOf(await rejection(reading), DeviceLostError);
  });

  it("does not take destroy() for a loss, but later calls say that the device was destroyed", async () => {
    const device = await openTestDevice();
    let heard = false;
    void device.lost.then(() => (heard = true));
    const w = variable(device, hostTensor(random(2), [2]), "w");
    device.destroy();
    await device.gpu.lost;
    const error = await rejection(w.read());
    assert.instanceOf(error, DeviceLostError);
    assert.match(error.message, /destroyed; open a new one/);
    assert.isFalse(heard);
  });
});

describe("opening a device", () => {
  const info = (fields: Partial<GPUAdapterInfo>): GPUAdapterInfo =>
    ({ vendor: "", architecture: "", device: "", description: "", ...fields }) as GPUAdapterInfo;

  it("takes the caller's GPUDevice, with the features and limits that it has", async () => {
    await withDevice(async ({ gpu }) => {
      const device = await openDevice({ device: gpu });
      assert.equal(device.gpu, gpu);
      assert.equal(device.capabilities.maxStorageBufferBindingSize, gpu.limits.maxStorageBufferBindingSize);
      assert.deepEqual([...device.adapter.features], [...gpu.features].sort());
      assert.deepEqual([...(await read(device, add(constant([1, 2]), 1)))], [2, 3]);
    });
  });

  it("says which adapter computes, and whether it is a software adapter", async () => {
    const device = await testDevice();
    assert.isNotEmpty(device.adapter.name);
    assert.equal(device.adapter.software, isSoftwareAdapter(device.gpu.adapterInfo));
    assert.equal(/\(software\)$/.test(device.adapter.name), device.adapter.software);
    assert.isTrue(isSoftwareAdapter(info({ description: "SwiftShader Device (Subzero)" })));
    assert.isTrue(isSoftwareAdapter(info({ description: "llvmpipe (LLVM 15.0.6, 256 bits)" })));
    assert.isFalse(isSoftwareAdapter(info({ vendor: "nvidia", architecture: "ampere" })));
  });

  it("refuses the null backend", async () => {
    const nothing = info({ description: "Null backend" });
    assert.throws(() => refuseNullAdapter(nothing), AdapterError, /null backend.*computes nothing/);
    refuseNullAdapter(info({ vendor: "nullable gmbh" }));
    const error = await rejection(openDevice({ adapter: { info: nothing } as GPUAdapter }));
    assert.instanceOf(error, AdapterError);
  });

  it("says what is missing if there is no adapter, or if it gives no device", async () => {
    const none = await rejection(
      openDevice({ gpu: { requestAdapter: () => Promise.resolve(null) } as unknown as GPU }),
    );
    assert.instanceOf(none, AdapterError);
    assert.match(none.message, /no adapter/);
    const adapter = {
      info: info({ vendor: "acme" }),
      features: new Set(),
      limits: {},
      requestDevice: () => Promise.reject(new Error("out of order")),
    } as unknown as GPUAdapter;
    const refused = await rejection(openDevice({ adapter }));
    assert.instanceOf(refused, AdapterError);
    assert.match(refused.message, /acme gave no device: .*out of order/);
  });
});
