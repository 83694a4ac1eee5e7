/** The folder of a search: made for a new one, or found again. */
import { join } from "node:path";
import type { Device } from "../../../engine/index.js";
import { VERSION } from "../../version.js";
import { writeFileSafely } from "../disk/output.js";
import { say } from "../output/console.js";
import { createRunFolder, openParent } from "../runs/folder.js";
import { lockRun, type RunLock } from "../runs/lock.js";
import { dropTornLine, SEARCH_LOG_FILE, type FoundLines } from "./log.js";

/** What messages call the work in the folder. */
export type SearchKind = "search" | "ablation";

/** The first column of a message. */
const head = (kind: SearchKind): string => kind.padEnd(10);

/** Makes a locked folder of this name in `parent`, or of the next free name, with these JSON files. @throws OutputError */
export async function newSearchFolder(
  parent: string,
  name: string,
  { kind, files }: { kind: SearchKind; files: Readonly<Record<string, unknown>> },
): Promise<{ folder: string; lock: RunLock }> {
  await openParent(parent);
  const { folder, taken } = await createRunFolder(parent, name);
  if (taken)
    say(
      `${head(kind)}${join(parent, name)} exists and stays as it is; this ${kind} goes to the next free name`,
    );
  const lock = await lockRun(folder);
  for (const [file, content] of Object.entries(files))
    await writeFileSafely(join(folder, file), `${JSON.stringify(content, null, 2)}\n`);
  say(`${head(kind)}${folder}`);
  return { folder, lock };
}

/** Drops the line that a killed writer did not finish, and says what the search goes on from. @throws OutputError */
export async function goOnIn(
  folder: string,
  { lines, torn, whole }: FoundLines,
  { kind, device }: { kind: SearchKind; device: Device },
): Promise<void> {
  if (torn) {
    await dropTornLine(folder, whole);
    say(
      `warning   the last line of ${join(folder, SEARCH_LOG_FILE)} was not finished; it is dropped, and its trial is run again`,
    );
  }
  say(`${head(kind)}${folder}, going on after ${lines.length} finished trials`);
  for (const other of new Set(lines.map((line) => `${line.adapter}, version ${line.version}`)))
    if (other !== `${device.adapter.name}, version ${VERSION}`)
      say(
        `warning   some trials ran on ${other}: scores of another adapter or version may differ by more than rounding`,
      );
}
