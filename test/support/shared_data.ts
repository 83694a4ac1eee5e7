/** Puzzle files that lie beside the repository; Node only. */
import { existsSync, readFileSync } from "node:fs";

const ROOT = "../shared/data";

/** The bytes of a file below ../shared/data. If the folder is absent, it skips the running test with a message. */
export function sharedData(test: Mocha.Context, path: string): Uint8Array {
  if (!existsSync(ROOT)) {
    console.log(`      skipped: no ${ROOT}`);
    test.skip();
  }
  return new Uint8Array(readFileSync(`${ROOT}/${path}`));
}
