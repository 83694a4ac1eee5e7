/** Records what browsers without WebGPU show: `node docs/playground/models/record.mjs > docs/playground/models/recording.json`. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import * as esbuild from "esbuild";
import { external, root } from "../../../esbuild.config.mjs";

const outfile = join(root, "build/record_thought.mjs");
await esbuild.build({
  entryPoints: [join(root, "docs/playground/models/record_thought.ts")],
  ...{ outfile, bundle: true, format: "esm", platform: "node", target: "es2022", external },
});
const { status } = spawnSync(process.execPath, [outfile], {
  cwd: root,
  stdio: ["ignore", "inherit", "inherit"],
});
process.exitCode = status ?? 1;
