/** `hrm verify`: replays golden fixtures and prints every comparison. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { replayFixture } from "../../verify/replay.js";
import type { CheckRow } from "../../verify/check.js";
import { ArgumentError, parseArguments, type Command } from "../arguments.js";
import { adapterOptions, jsonOption, openAnnounced, say } from "../shared.js";

const options = { ...adapterOptions, json: jsonOption } as const;
const command: Command<typeof options> = {
  name: "hrm verify",
  summary:
    "Replays every golden fixture below the folders given (primitives, segments, trajectories, evaluations).",
  options,
  positionals: [
    { name: "folder", help: "folders with fixtures; default ../shared/fixtures", variadic: true },
  ],
};

/** Folders at or below `folder` that hold a fixture. */
async function fixtureFolders(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries.map((e) => e.name);
  const here = names.includes("segment.safetensors") || names.includes("primitives.json") ? [folder] : [];
  const below = await Promise.all(
    entries.filter((e) => e.isDirectory()).map((e) => fixtureFolders(join(folder, e.name))),
  );
  return [...here, ...below.flat()].sort();
}

/** Runs `hrm verify`. Exit code 1 on a failure, or where there was nothing to replay. */
export async function verifyCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const roots = parsed.positionals.length > 0 ? parsed.positionals : ["../shared/fixtures"];
  for (const root of roots) {
    if (
      !(await stat(root).then(
        (s) => s.isDirectory(),
        () => false,
      ))
    )
      throw new ArgumentError(`hrm verify: got "${root}"; expected a folder with fixtures.`);
  }
  const folders = (await Promise.all(roots.map(fixtureFolders))).flat();
  const device = await openAnnounced(parsed.values.adapter);
  const rows: CheckRow[] = [];
  for (const folder of folders) {
    const read = (name: string): Promise<Uint8Array | null> =>
      readFile(join(folder, name)).then(
        (bytes) => new Uint8Array(bytes),
        (error: NodeJS.ErrnoException) => (error.code === "ENOENT" ? null : Promise.reject(error)),
      );
    const started = rows.length;
    rows.push(...(await replayFixture(device, basename(folder), read)));
    for (const row of rows.slice(started)) process.stdout.write(`${format(row)}\n`);
  }
  const failed = rows.filter((r) => !r.passed).length;
  if (rows.length === 0)
    say(
      `Nothing to replay below ${roots.join(", ")}: no folder holds segment.safetensors or primitives.json.`,
    );
  if (parsed.values.json)
    process.stdout.write(
      `${JSON.stringify({ adapter: device.adapter.name, passed: rows.length - failed, failed, rows })}\n`,
    );
  else process.stdout.write(`${rows.length - failed} passed, ${failed} failed\n`);
  device.destroy();
  return failed > 0 || rows.length === 0 ? 1 : 0;
}

function format({ fixture, quantity, error, allowed, passed, note }: CheckRow): string {
  return `${passed ? "pass" : "FAIL"}  ${fixture.padEnd(14)} ${quantity.padEnd(64)} error ${error.toExponential(2)}  allowed ${allowed.toExponential(2)}${note ? `  ${note}` : ""}`;
}
