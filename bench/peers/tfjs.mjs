/** TensorFlow.js on its WebGPU backend, through its ordinary operations. */
import * as tf from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-webgpu";

const EPS = 1e-5;

export async function open() {
  // Without this small tensors are computed on the CPU.
  tf.env().set("WEBGPU_CPU_FORWARD", false);
  if (!(await tf.setBackend("webgpu"))) throw new Error("the backend webgpu did not start");
  await tf.ready();
  const backend = tf.backend();
  /** Waits for everything issued: the pending pass ends, is submitted, and runs. */
  const drain = async () => {
    if (backend.commandEncoder) {
      backend.endComputePassEncoder();
      backend.submitQueue();
    }
    await backend.queue.onSubmittedWorkDone();
  };
  const rms = (s, size) => s.mul(s.square().mean(-1, true).add(EPS).rsqrt());
  const silu = (g) => g.mul(g.sigmoid());

  /** An operation on fixed inputs; `compute` returns one tensor. */
  const prepared = (inputs, compute, arrange = (values) => values) => {
    let last = null;
    return {
      run() {
        last?.dispose();
        last = tf.tidy(compute);
      },
      drain,
      read: async () => arrange(await last.data()),
      dispose() {
        last?.dispose();
        inputs.forEach((t) => t.dispose());
      },
    };
  };

  const operations = {
    matmul({ layout, M, N, K }, { a, b }) {
      const x = tf.tensor(a, layout === "tn" ? [K, M] : [M, K]);
      const y = tf.tensor(b, layout === "nt" ? [N, K] : [K, N]);
      return prepared([x, y], () => tf.matMul(x, y, layout === "tn", layout === "nt"));
    },
    attention({ batch: B, length: S, heads: H, headDim: D }, { q, k, v }) {
      // [B, S, H, D] on the host; the products want heads outside.
      const inputs = [q, k, v].map((x) => tf.tidy(() => tf.tensor(x, [B, S, H, D]).transpose([0, 2, 1, 3])));
      const [x, y, z] = inputs;
      return prepared(
        inputs,
        () => tf.matMul(tf.softmax(tf.matMul(x, y, false, true).mul(1 / Math.sqrt(D))), z),
        (values) =>
          Float32Array.from(values, (_, i) => {
            const [d, h] = [i % D, Math.floor(i / D) % H];
            const [s, b] = [Math.floor(i / (D * H)) % S, Math.floor(i / (D * H * S))];
            return values[((b * H + h) * S + s) * D + d];
          }),
      );
    },
    rms_norm_residual({ rows, size }, { x, residual }) {
      const [s, r] = [tf.tensor(x, [rows, size]), tf.tensor(residual, [rows, size])];
      return prepared([s, r], () => rms(s.add(r), size));
    },
    swiglu({ rows, inner }, { gate, up }) {
      const [g, u] = [tf.tensor(gate, [rows, inner]), tf.tensor(up, [rows, inner])];
      return prepared([g, u], () => silu(g).mul(u));
    },
    cross_entropy({ rows, classes }, { logits, labels }) {
      const x = tf.tensor(logits, [rows, classes]);
      // Rows of zeros, and a zero factor, where there is no label.
      const hot = tf.tidy(() => tf.oneHot(tf.tensor1d(labels, "int32"), classes).toFloat());
      const counts = tf.tensor1d(Float32Array.from(labels, (y) => Number(y >= 0)));
      return prepared([x, hot, counts], () => tf.logSumExp(x, 1).mul(counts).sub(x.mul(hot).sum(1)));
    },
    add({ shape }, { a, b }) {
      const [x, y] = [tf.tensor(a, shape), tf.tensor(b, shape)];
      return prepared([x, y], () => x.add(y));
    },
    transpose({ rows, columns }, { x }) {
      const t = tf.tensor(x, [rows, columns]);
      return prepared([t], () => t.transpose());
    },
    sum_rows({ rows, columns }, { x }) {
      const t = tf.tensor(x, [rows, columns]);
      return prepared([t], () => t.sum(0));
    },
  };

  return {
    operation: (kind, spec, data) => operations[kind]?.(spec, data) ?? null,
    /** One step of gradient descent on the block stack; see bench/core/block_stack.ts. */
    step({ batch: B, length: S, width: D, heads: H, inner: I, classes: C, layers, learningRate }, data) {
      const x = tf.tensor(data.x, [B * S, D]);
      const weights = Object.fromEntries(
        Object.entries(data.weights).map(([name, w]) => [name, tf.variable(tf.tensor(w.data, w.shape))]),
      );
      const linear = (t, name) => tf.matMul(t, weights[name], false, true);
      const heads = (t, part) =>
        t
          .slice([0, part * D], [B * S, D])
          .reshape([B, S, H, D / H])
          .transpose([0, 2, 1, 3]);
      let hot = null;
      let share = 1;
      let last = null;
      const setLabels = (labels) => {
        hot?.dispose();
        hot = tf.tidy(() => tf.oneHot(tf.tensor1d(labels, "int32"), C).toFloat());
        share = 1 / labels.filter((y) => y >= 0).length;
      };
      setLabels(data.labels);
      const loss = () => {
        let h = x;
        for (let i = 0; i < layers; i++) {
          const qkv = linear(h, `${i}.qkv`);
          const [q, k, v] = [0, 1, 2].map((part) => heads(qkv, part));
          const p = tf.softmax(tf.matMul(q, k, false, true).mul(1 / Math.sqrt(D / H)));
          const o = tf
            .matMul(p, v)
            .transpose([0, 2, 1, 3])
            .reshape([B * S, D]);
          const mixed = rms(linear(o, `${i}.o`).add(h));
          const gateUp = linear(mixed, `${i}.gate_up`);
          const activated = silu(gateUp.slice([0, 0], [B * S, I])).mul(gateUp.slice([0, I], [B * S, I]));
          h = rms(linear(activated, `${i}.down`).add(mixed));
        }
        const logits = linear(h, "head");
        return tf.logSoftmax(logits).mul(hot).sum().mul(-share);
      };
      const optimizer = tf.train.sgd(learningRate);
      return {
        setLabels,
        setWeights: () =>
          Object.entries(data.weights).forEach(([name, w]) => {
            tf.tidy(() => weights[name].assign(tf.tensor(w.data, w.shape)));
          }),
        run() {
          last?.dispose();
          last = optimizer.minimize(loss, true, Object.values(weights));
        },
        drain,
        loss: async () => (await last.data())[0],
        async weights() {
          const all = {};
          for (const [name, w] of Object.entries(weights)) all[name] = await w.data();
          return all;
        },
        dispose() {
          [x, hot, last, ...Object.values(weights)].forEach((t) => t?.dispose());
        },
      };
    },
  };
}
