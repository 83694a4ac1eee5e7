import { stat } from "node:fs/promises";

/** True if there is something at this path that this user may see: a file, a folder or a link to one. */
export async function fileExists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
