/** ONNX Runtime Web on its WebGPU execution provider: one graph an operation, inputs and outputs on the GPU. It trains nothing. */
import * as ort from "onnxruntime-web/webgpu";
import { onnxModel } from "./onnx_model.mjs";

const EPS = 1e-5;
const STORAGE_COPY = 0x80 | 0x8 | 0x4;

export async function open({ bytes }) {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await bytes("onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm");
  ort.env.logLevel = "error";

  /** A session of a graph on fixed inputs, each `[data, shape]`. */
  const prepared = async ({ inputs, output, arrange = (values) => values, ...graph }) => {
    const shapes = Object.fromEntries(Object.entries(inputs).map(([name, [, dims]]) => [name, dims]));
    const model = onnxModel({ ...graph, inputs: shapes, output: { name: "out", dims: output } });
    const session = await ort.InferenceSession.create(model, {
      executionProviders: ["webgpu"],
      preferredOutputLocation: "gpu-buffer",
    });
    const device = await ort.env.webgpu.device;
    const buffers = [];
    const feeds = {};
    for (const [name, [data, dims]] of Object.entries(inputs)) {
      const buffer = device.createBuffer({ size: data.byteLength, usage: STORAGE_COPY });
      device.queue.writeBuffer(buffer, 0, data);
      buffers.push(buffer);
      feeds[name] = ort.Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims });
    }
    let last = null;
    return {
      async run() {
        last?.dispose();
        last = (await session.run(feeds)).out;
      },
      drain: () => device.queue.onSubmittedWorkDone(),
      read: async () => arrange(await last.getData()),
      dispose() {
        last?.dispose();
        for (const buffer of buffers) buffer.destroy();
        void session.release();
      },
    };
  };
  const node = (op, inputs, out, more = {}) => ({ op, in: inputs, out, ...more });

  const operations = {
    matmul({ layout, M, N, K }, { a, b }) {
      const inputs = { a: [a, layout === "tn" ? [K, M] : [M, K]], b: [b, layout === "nt" ? [N, K] : [K, N]] };
      const attributes = { transA: Number(layout === "tn"), transB: Number(layout === "nt") };
      const product =
        layout === "nn" ? node("MatMul", ["a", "b"], "out") : node("Gemm", ["a", "b"], "out", { attributes });
      return prepared({ inputs, output: [M, N], nodes: [product] });
    },
    attention({ batch: B, length: S, heads: H, headDim: D }, { q, k, v }) {
      // MatMul wants heads outside and keys along columns; the host arranges both, which costs the library nothing.
      const arranged = (x, at) => {
        const y = new Float32Array(x.length);
        for (let i = 0; i < x.length; i++) {
          const [d, h] = [i % D, Math.floor(i / D) % H];
          const [s, b] = [Math.floor(i / (D * H)) % S, Math.floor(i / (D * H * S))];
          y[at(b, h, s, d)] = x[i];
        }
        return y;
      };
      const rows = (b, h, s, d) => ((b * H + h) * S + s) * D + d;
      const columns = (b, h, s, d) => ((b * H + h) * D + d) * S + s;
      return prepared({
        inputs: {
          q: [arranged(q, rows), [B, H, S, D]],
          k: [arranged(k, columns), [B, H, D, S]],
          v: [arranged(v, rows), [B, H, S, D]],
        },
        constants: { scale: Float32Array.of(1 / Math.sqrt(D)) },
        output: [B, H, S, D],
        nodes: [
          node("MatMul", ["q", "k"], "products"),
          node("Mul", ["products", "scale"], "scaled"),
          node("Softmax", ["scaled"], "p", { attributes: { axis: -1 } }),
          node("MatMul", ["p", "v"], "out"),
        ],
        arrange: (values) =>
          Float32Array.from(values, (_, i) => {
            const [d, h] = [i % D, Math.floor(i / D) % H];
            const [s, b] = [Math.floor(i / (D * H)) % S, Math.floor(i / (D * H * S))];
            return values[rows(b, h, s, d)];
          }),
      });
    },
    rms_norm_residual({ rows, size }, { x, residual }) {
      return prepared({
        inputs: { x: [x, [rows, size]], residual: [residual, [rows, size]] },
        constants: { ones: new Float32Array(size).fill(1) },
        output: [rows, size],
        nodes: [
          node("SkipSimplifiedLayerNormalization", ["x", "residual", "ones"], "out", {
            domain: "com.microsoft",
            attributes: { epsilon: { float: EPS } },
          }),
        ],
      });
    },
    swiglu({ rows, inner }, { gate, up }) {
      return prepared({
        inputs: { gate: [gate, [rows, inner]], up: [up, [rows, inner]] },
        output: [rows, inner],
        nodes: [
          node("Sigmoid", ["gate"], "s"),
          node("Mul", ["gate", "s"], "activated"),
          node("Mul", ["activated", "up"], "out"),
        ],
      });
    },
    cross_entropy({ rows, classes }, { logits, labels }) {
      const hot = new Float32Array(rows * classes);
      labels.forEach((y, i) => y >= 0 && (hot[i * classes + y] = 1));
      const counts = Float32Array.from(labels, (y) => Number(y >= 0));
      return prepared({
        inputs: { x: [logits, [rows, classes]], hot: [hot, [rows, classes]], counts: [counts, [rows]] },
        constants: { axis: BigInt64Array.of(1n) },
        output: [rows],
        nodes: [
          node("ReduceLogSumExp", ["x", "axis"], "lse", { attributes: { keepdims: 0 } }),
          node("Mul", ["x", "hot"], "picked"),
          node("ReduceSum", ["picked", "axis"], "own", { attributes: { keepdims: 0 } }),
          node("Mul", ["lse", "counts"], "counted"),
          node("Sub", ["counted", "own"], "out"),
        ],
      });
    },
    add({ shape }, { a, b }) {
      return prepared({
        inputs: { a: [a, shape], b: [b, shape] },
        output: shape,
        nodes: [node("Add", ["a", "b"], "out")],
      });
    },
    transpose({ rows, columns }, { x }) {
      const nodes = [node("Transpose", ["x"], "out", { attributes: { perm: [1, 0] } })];
      return prepared({ inputs: { x: [x, [rows, columns]] }, output: [columns, rows], nodes });
    },
    sum_rows({ rows, columns }, { x }) {
      const nodes = [node("ReduceSum", ["x", "axis"], "out", { attributes: { keepdims: 0 } })];
      const constants = { axis: BigInt64Array.of(0n) };
      return prepared({ inputs: { x: [x, [rows, columns]] }, constants, output: [columns], nodes });
    },
  };
  return { operation: (kind, spec, data) => operations[kind]?.(spec, data) ?? null };
}
