/** Puzzle files that lie beside the repository; Node only. */
import { existsSync, readFileSync } from "node:fs";

const ROOT = "../shared/data";

/** The bytes of a file below ../shared/data. Skips the running test, saying so, where the folder is absent. */
export function sharedData(test: Mocha.Context, path: string): Uint8Array {
  if (!existsSync(ROOT)) {
    console.log(`      skipped: no ${ROOT}`);
    test.skip();
  }
  return new Uint8Array(readFileSync(`${ROOT}/${path}`));
}
