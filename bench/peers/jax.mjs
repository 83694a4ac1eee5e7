/** jax-js, its functions compiled by `jit`. Arrays are consumed by use; `.ref` keeps one for another. */
import { defaultDevice, init, jit, nn, numpy as np, valueAndGrad } from "@jax-js/jax";

const EPS = 1e-5;

/** @param device "webgpu", or "wasm", which is asked for whole steps only */
export async function open({ device }) {
  if (!(await init(device)).includes(device)) throw new Error(`jax-js has no device ${device} here`);
  const array = (data, shape, dtype = np.float32) => np.array(data, { shape, dtype });
  const pending = [];
  const drain = async () => {
    await Promise.all(pending.splice(0));
  };
  const issue = (result) => {
    pending.push(result.ref.blockUntilReady().then((ready) => ready.dispose()));
    return result;
  };
  const rms = (s) => {
    const r = np.reciprocal(np.sqrt(np.square(s.ref).mean(-1, { keepdims: true }).add(EPS)));
    return s.mul(r);
  };
  const silu = (g) => nn.silu(g);

  const prepared = (inputs, compute) => {
    const compiled = jit(compute);
    let last = null;
    return {
      run() {
        defaultDevice(device);
        last?.dispose();
        last = issue(compiled(...inputs.map((x) => x.ref)));
      },
      drain,
      read: () => last.ref.data(),
      dispose() {
        last?.dispose();
        inputs.forEach((x) => x.dispose());
      },
    };
  };

  const operations = {
    matmul({ layout, M, N, K }, { a, b }) {
      const x = array(a, layout === "tn" ? [K, M] : [M, K]);
      const y = array(b, layout === "nt" ? [N, K] : [K, N]);
      return prepared([x, y], (l, r) =>
        np.matmul(layout === "tn" ? l.transpose() : l, layout === "nt" ? r.transpose() : r),
      );
    },
    attention({ batch: B, length: S, heads: H, headDim: D }, { q, k, v }) {
      return prepared(
        [q, k, v].map((x) => array(x, [B, S, H, D])),
        (x, y, z) => nn.dotProductAttention(x, y, z),
      );
    },
    rms_norm_residual({ rows, size }, { x, residual }) {
      return prepared([array(x, [rows, size]), array(residual, [rows, size])], (s, r) => rms(s.add(r)));
    },
    swiglu({ rows, inner }, { gate, up }) {
      return prepared([array(gate, [rows, inner]), array(up, [rows, inner])], (g, u) => silu(g).mul(u));
    },
    cross_entropy({ rows, classes }, { logits, labels }) {
      const hot = nn.oneHot(
        array(
          labels.map((y) => Math.max(0, y)),
          [rows],
          np.int32,
        ),
        classes,
      );
      const counts = array(
        Float32Array.from(labels, (y) => Number(y >= 0)),
        [rows],
      );
      return prepared([array(logits, [rows, classes]), hot, counts], (x, h, c) =>
        nn.logSoftmax(x, -1).mul(h).sum(-1).mul(c).mul(-1),
      );
    },
    add({ shape }, { a, b }) {
      return prepared([array(a, shape), array(b, shape)], (x, y) => x.add(y));
    },
    transpose({ rows, columns }, { x }) {
      // An addition of zero, since a transposition alone is a view there.
      return prepared([array(x, [rows, columns])], (t) => t.transpose().add(0));
    },
    sum_rows({ rows, columns }, { x }) {
      return prepared([array(x, [rows, columns])], (t) => t.sum(0));
    },
  };

  return {
    ...(device === "webgpu" && {
      operation(kind, spec, data) {
        defaultDevice(device);
        return operations[kind]?.(spec, data) ?? null;
      },
    }),
    step({ batch: B, length: S, width: D, heads: H, inner: I, classes: C, layers, learningRate }, data) {
      defaultDevice(device);
      const names = Object.keys(data.weights);
      const upload = () => names.map((n) => array(data.weights[n].data, [...data.weights[n].shape]));
      const x = array(data.x, [B * S, D]);
      const linear = (t, w) => np.matmul(t, w.transpose());
      const loss = (weights, input, hot, share) => {
        const w = Object.fromEntries(names.map((name, i) => [name, weights[i]]));
        let h = input;
        for (let i = 0; i < layers; i++) {
          const qkv = linear(h.ref, w[`${i}.qkv`]).reshape([B, S, 3, H, D / H]);
          const part = (t, j) => t.slice([], [], j);
          const [q, k, v] = [part(qkv.ref, 0), part(qkv.ref, 1), part(qkv, 2)];
          const o = nn.dotProductAttention(q, k, v).reshape([B * S, D]);
          const mixed = rms(linear(o, w[`${i}.o`]).add(h));
          const gateUp = linear(mixed.ref, w[`${i}.gate_up`]);
          const gate = gateUp.ref.slice([], [0, I]);
          const activated = silu(gate).mul(gateUp.slice([], [I, 2 * I]));
          h = rms(linear(activated, w[`${i}.down`]).add(mixed));
        }
        const logits = linear(h, w.head);
        return nn.logSoftmax(logits, -1).mul(hot).sum().mul(share).mul(-1);
      };
      const update = jit((weights, input, hot, share) => {
        const kept = weights.map((v) => v.ref);
        const [value, gradients] = valueAndGrad(loss)(weights, input, hot, share);
        return [value, kept.map((v, i) => v.sub(gradients[i].mul(learningRate)))];
      });
      let weights = upload();
      let hot = null;
      let share = null;
      let last = null;
      const setLabels = (labels) => {
        defaultDevice(device);
        hot?.dispose();
        share?.dispose();
        const dense = new Float32Array(labels.length * C);
        labels.forEach((y, i) => y >= 0 && (dense[i * C + y] = 1));
        hot = array(dense, [B * S, C]);
        share = np.array(1 / labels.filter((y) => y >= 0).length);
      };
      setLabels(data.labels);
      return {
        setLabels,
        setWeights() {
          defaultDevice(device);
          weights.forEach((v) => v.dispose());
          weights = upload();
        },
        run() {
          defaultDevice(device);
          last?.dispose();
          [last, weights] = update(weights, x.ref, hot.ref, share.ref);
          issue(last);
          weights.forEach(issue);
        },
        drain,
        loss: async () => (await last.ref.data())[0],
        async weights() {
          const all = {};
          for (const [i, name] of names.entries()) all[name] = await weights[i].ref.data();
          return all;
        },
        dispose() {
          [x, hot, share, last, ...weights].forEach((t) => t?.dispose());
        },
      };
    },
  };
}
