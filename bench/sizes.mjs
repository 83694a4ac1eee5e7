/**
 * `node bench/sizes.mjs`: bundles one program, a product of two matrices whose result is read back, with this library and
 * with its peers, in the same way, and prints the size of each minified bundle. Needs `npm ci --ignore-scripts --prefix
 * bench/peers`.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const peers = join(root, "bench/peers");

/** The program for each library, as its documents write it. */
const PROGRAMS = [
  {
    name: "hrm-webgpu",
    from: root,
    code: `
      import { compile, f32, matmul, openDevice } from "./engine/index.js";
      const device = await openDevice();
      const product = await compile(device, { a: f32(64, 64), b: f32(64, 64) }, ({ a, b }) => ({ c: matmul(a, b) }));
      const data = new Float32Array(4096).fill(1);
      console.log((await product.call({ a: data, b: data })).c);`,
  },
  {
    name: "@jax-js/jax",
    from: peers,
    code: `
      import { defaultDevice, init, numpy as np } from "@jax-js/jax";
      await init("webgpu");
      defaultDevice("webgpu");
      const data = new Float32Array(4096).fill(1);
      const a = np.array(data).reshape([64, 64]);
      const b = np.array(data).reshape([64, 64]);
      console.log(await np.matmul(a, b).data());`,
  },
  {
    name: "@tensorflow/tfjs-backend-webgpu",
    from: peers,
    code: `
      import { matMul, ready, setBackend, tensor2d } from "@tensorflow/tfjs-core";
      import "@tensorflow/tfjs-backend-webgpu";
      await setBackend("webgpu");
      await ready();
      const data = new Float32Array(4096).fill(1);
      const a = tensor2d(data, [64, 64]);
      const b = tensor2d(data, [64, 64]);
      console.log(await matMul(a, b).data());`,
  },
];

const versionOf = (folder) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version;

const rows = [];
for (const { name, from, code } of PROGRAMS) {
  const folder = from === root ? root : join(peers, "node_modules", name);
  if (!existsSync(folder)) {
    console.error(`${name} is not installed; run: npm ci --ignore-scripts --prefix bench/peers`);
    process.exitCode = 1;
    continue;
  }
  const { outputFiles } = await esbuild.build({
    stdin: { contents: code, resolveDir: from, loader: "ts" },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    platform: "browser",
    write: false,
    outfile: "out.js",
    logLevel: "error",
  });
  const bytes = outputFiles[0].contents;
  rows.push([
    `${name} ${versionOf(folder)}`,
    bytes.length,
    gzipSync(bytes, { level: 9 }).length,
    brotliCompressSync(bytes).length,
  ]);
}
const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
console.log("| library | minified | gzip | brotli |\n| --- | --- | --- | --- |");
for (const [name, ...sizes] of rows) console.log(`| ${name} | ${sizes.map(kilobytes).join(" | ")} |`);
