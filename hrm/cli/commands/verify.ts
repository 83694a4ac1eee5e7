/** `hrm verify`: replays golden fixtures and prints every comparison. */
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import type { CheckRow } from "../../verify/check.js";
import { FIXTURE_FILES, replayFixture } from "../../verify/replay.js";
import { ArgumentError, parseArguments, type Command } from "../../terminal/arguments.js";
import { reasonOf } from "../disk/output.js";
import { adapterOptions, jsonOption } from "../options/common.js";
import { openAnnounced } from "../runs/open_device.js";
import { printJson, say, show } from "../output/console.js";

const DEFAULT_FOLDER = "../shared/fixtures";

const options = { ...adapterOptions, json: jsonOption } as const;
const command: Command<typeof options> = {
  name: "hrm verify",
  summary:
    "Replays every golden fixture below the folders given (primitives, segments, trajectories, evaluations).",
  options,
  positionals: [{ name: "folder", help: `folders with fixtures; default ${DEFAULT_FOLDER}`, variadic: true }],
};

/** Folders at or below `folder` that hold a fixture. Each is listed once, even if several links lead to it. */
async function fixtureFolders(folder: string, seen = new Set<string>()): Promise<string[]> {
  const real = await realpath(folder);
  if (seen.has(real)) return [];
  seen.add(real);
  const names = (await readdir(folder)).sort();
  const found = names.some((name) => FIXTURE_FILES.includes(name)) ? [folder] : [];
  for (const name of names) {
    const path = join(folder, name);
    if (await isFolder(path)) found.push(...(await fixtureFolders(path, seen)));
  }
  return found;
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (s) => s.isDirectory(),
    () => false,
  );

/** Every fixture below the roots, each with a distinct name. @throws ArgumentError */
async function findFixtures(roots: readonly string[]): Promise<{ folder: string; name: string }[]> {
  const seen = new Set<string>();
  const found: { folder: string; name: string }[] = [];
  for (const root of roots) {
    if (!(await isFolder(root)))
      throw new ArgumentError(`<folder>: got "${root}"; expected a folder with golden fixtures below it.`);
    let folders: string[];
    try {
      folders = await fixtureFolders(root, seen);
    } catch (error) {
      throw new ArgumentError(`<folder>: cannot list "${root}" (${reasonOf(error)}).`);
    }
    for (const folder of folders)
      found.push({ folder, name: relative(root, folder) || basename(await realpath(folder)) });
  }
  return found;
}

/** Runs `hrm verify`. Returns exit code 1 if a comparison failed, or if there was no fixture. */
export async function verifyCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const { values } = parsed;
  const roots = parsed.positionals.length > 0 ? parsed.positionals : [DEFAULT_FOLDER];
  const fixtures = await findFixtures(roots);
  const device = await openAnnounced(values.adapter);
  try {
    const rows: CheckRow[] = [];
    if (fixtures.length > 0) show(tableHead(), values);
    for (const { folder, name } of fixtures) {
      const read = (file: string): Promise<Uint8Array | null> =>
        readFile(join(folder, file)).then(
          (bytes) => new Uint8Array(bytes),
          (error: NodeJS.ErrnoException) => (error.code === "ENOENT" ? null : Promise.reject(error)),
        );
      const replayed = await replayFixture(device, name, read);
      for (const row of replayed) show(tableRow(row), values);
      rows.push(...replayed);
    }
    const failed = rows.filter((r) => !r.passed).length;
    const passed = rows.length - failed;
    if (rows.length === 0)
      say(`Nothing to replay below ${roots.join(", ")}: no folder holds ${FIXTURE_FILES.join(" or ")}.`);
    const ties = rows.filter((r) => r.passed && r.note !== "").length;
    if (ties > 0) show(`${ties} of those passed with a note: see the rows above`, values);
    show(`${passed} passed, ${failed} failed`, values);
    if (values.json) printJson({ adapter: device.adapter.name, passed, failed, rows });
    return failed > 0 || rows.length === 0 ? 1 : 0;
  } finally {
    device.destroy();
  }
}

function tableHead(): string {
  return `${"fixture".padEnd(14)} ${"quantity".padEnd(60)} ${"max error".padStart(9)} ${"allowed".padStart(9)}  verdict`;
}

function tableRow({ fixture, quantity, error, allowed, passed, note }: CheckRow): string {
  const figure = (value: number): string => value.toExponential(2).padStart(9);
  return `${fixture.padEnd(14)} ${quantity.padEnd(60)} ${figure(error)} ${figure(allowed)}  ${passed ? "pass" : "FAIL"}${note ? `  ${note}` : ""}`;
}
