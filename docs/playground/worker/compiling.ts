/** Tells how far compiling is. */
import type { Device } from "../../../engine/index.js";
import type { Report } from "../protocol.js";

/** Milliseconds between two reports of what is compiled. */
const COMPILING_EVERY = 150;

/** Reports what the device compiles while a body runs. */
export async function compiling<T>(
  on: Device,
  report: (message: Report) => void,
  what: string,
  body: () => Promise<T>,
): Promise<T> {
  const [asked, ready] = [on.stats.pipelinesCreated, on.stats.pipelinesReady];
  const tell = (): void => {
    const { pipelinesCreated, pipelinesReady } = on.stats;
    report({ type: "compiling", what, done: pipelinesReady - ready, total: pipelinesCreated - asked });
  };
  tell();
  const timer = setInterval(tell, COMPILING_EVERY);
  try {
    return await body();
  } finally {
    clearInterval(timer);
    tell();
  }
}
