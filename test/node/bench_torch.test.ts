import { assert } from "chai";
import { WrongResultError } from "../../bench/core/kernel_case.js";
import type { HrmMetrics, Peer } from "../../bench/core/peer_types.js";
import { checkPeerSteps, type HrmReference } from "../../bench/core/peer_hrm.js";
import { openTorch, type TorchFiles, type TorchProcess } from "../../bench/core/torch_peer.js";
import { hostTensor } from "../../engine/index.js";
import { modelConfig, trainConfig } from "../../hrm/index.js";

type Question = Record<string, unknown>;

/** A process that answers every question by `answers[question.do]`, and what it was asked. */
function process(answers: Record<string, object>, files?: TorchFiles): TorchProcess & { asked: Question[] } {
  const asked: Question[] = [];
  return {
    asked,
    greeting: Promise.resolve({
      version: "2",
      modes: [{ name: "bf16", matmul: true, stepTolerance: 0.05, rounding: 2 ** -8 }],
    }),
    ...(files && { files }),
    ask<T>(question: Question) {
      asked.push(question);
      return Promise.resolve((answers[question["do"] as string] ?? {}) as T);
    },
  };
}

async function onlyPeer(torch: TorchProcess): Promise<Peer> {
  const [{ name, peer }] = (await openTorch(torch)) as [Awaited<ReturnType<typeof openTorch>>[0]];
  assert.equal(name, "PyTorch 2 bf16");
  assert.isFalse("reason" in peer);
  return peer as Peer;
}

describe("PyTorch as a peer", () => {
  const spec = { layout: "nt", M: 1, N: 2, K: 2 };
  const data = { a: Float32Array.of(1, 2), b: Float32Array.of(1, 0, 0, 1) };
  const bytes = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

  it("sends numbers in base64 and takes them back", async () => {
    const torch = process({
      matmul: { id: 7 },
      read: { c: { data: btoa(String.fromCharCode(...bytes(1, 2))) } },
    });
    const peer = await onlyPeer(torch);
    assert.equal(peer.rounding, 2 ** -8);
    const work = (await peer.operation!("matmul", spec, data))!;
    await work.run();
    assert.deepEqual([...Array.from(await work.read())], [1, 2]);
    const [opened, run] = torch.asked as [Question, Question];
    assert.deepEqual(opened["a"], {
      data: btoa(String.fromCharCode(...bytes(1, 2))),
      shape: [1, 2],
      dtype: "float32",
    });
    assert.deepEqual(run, { do: "run", id: 7 });
    assert.isNull(await peer.operation!("transpose", spec, data));
  });

  it("sends numbers through files if both sides can read them", async () => {
    const written: Uint8Array[] = [];
    const files: TorchFiles = {
      write: (given) => Promise.resolve(`file${written.push(given)}`),
      take: (path) => Promise.resolve(path === "answer" ? bytes(3, 4) : bytes()),
    };
    const torch = process({ matmul: { id: 1 }, read: { c: { file: "answer" } } }, files);
    const work = (await (await onlyPeer(torch)).operation!("matmul", spec, data))!;
    assert.deepEqual(Array.from(await work.read()), [3, 4]);
    assert.deepEqual(torch.asked[0]!["b"], { file: "file2", shape: [2, 2], dtype: "float32" });
    assert.deepEqual(written[1], bytes(1, 0, 0, 1));
  });

  it("has a step's labels in place before it runs", async () => {
    const files: TorchFiles = {
      write: () => new Promise((done) => setTimeout(() => done("file"), 5)),
      take: () => Promise.resolve(bytes()),
    };
    const torch = process({ step: { id: 1 } }, files);
    const sizes = { name: "", batch: 1, length: 1, width: 1, heads: 1, inner: 1, classes: 2, quick: true };
    const step = await (
      await onlyPeer(torch)
    ).step!(
      { ...sizes, layers: 0, learningRate: 1 },
      { x: new Float32Array(1), labels: new Int32Array(1), weights: {} },
    );
    step.setLabels(Int32Array.of(1));
    await step.run();
    assert.deepEqual(
      torch.asked.map((question) => question["do"]),
      ["step", "labels", "run"],
    );
  });

  it("hands HRM's configuration, weights and batch over", async () => {
    const metrics = { lm_loss: 1, q_halt_loss: 2, gradientNorm: 3 };
    const torch = process({ hrm: { id: 1 }, metrics });
    const config = modelConfig({ batch_size: 1, seq_len: 2 });
    const step = await (
      await onlyPeer(torch)
    ).hrmStep!(
      { config, train: trainConfig({}) },
      {
        state: new Map([["inner.H_init", hostTensor(Float32Array.of(1), [1])]]),
        inputs: Int32Array.of(1, 2),
        labels: Int32Array.of(3, 4),
      },
    );
    const opened = torch.asked[0] as Record<"config" | "weights" | "inputs", unknown>;
    assert.deepEqual(opened.config, config);
    assert.deepEqual((opened.weights as Record<string, { shape: number[] }>)["inner.H_init"]!.shape, [1]);
    assert.deepEqual((opened.inputs as { shape: number[] }).shape, [1, 2]);
    assert.deepEqual(await step.metrics(), metrics);
  });
});

describe("HRM's step of a peer", () => {
  const first: HrmMetrics = { lm_loss: 10, q_halt_loss: 1, gradientNorm: 5 };
  const second: HrmMetrics = { lm_loss: 9, q_halt_loss: 0.9, gradientNorm: 4 };
  const reference: HrmReference = {
    inputs: new Int32Array(),
    labels: new Int32Array(),
    steps: [first, second],
  };

  /** Steps that have these metrics in turn; one has run. */
  const steps = (...rows: HrmMetrics[]) => {
    let ran = 0;
    return {
      run: () => void ran++,
      drain: () => Promise.resolve(),
      dispose: () => undefined,
      metrics: () => Promise.resolve(rows[ran]!),
    };
  };

  it("is compared in its first and its second step", async () => {
    const near = { ...first, lm_loss: 10.0005 };
    assert.closeTo(await checkPeerSteps(steps(near, second), reference, 1e-4), 5e-5, 1e-9);
    const wrong: [HrmMetrics, HrmMetrics, RegExp][] = [
      [{ ...first, lm_loss: 10.01 }, second, /lm_loss of the first step is 10\.01; expected 10 within/],
      [{ ...first, gradientNorm: 5.1 }, second, /gradientNorm of the first/],
      [first, { ...second, lm_loss: 10 }, /lm_loss of the second/],
      [first, { ...second, q_halt_loss: 1 }, /q_halt_loss of the second/],
      [{ ...first, lm_loss: NaN }, second, /lm_loss of the first step is NaN/],
    ];
    for (const [one, two, message] of wrong)
      await checkPeerSteps(steps(one, two), reference, 1e-4).then(
        () => assert.fail("accepted"),
        (error: Error) => {
          assert.instanceOf(error, WrongResultError);
          assert.match(error.message, message);
        },
      );
  });
});
