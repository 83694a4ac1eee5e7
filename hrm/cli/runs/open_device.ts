/** The device that a command computes on. */
import { AdapterError, type Device } from "../../../engine/index.js";
import { listAdapters, openNodeDevice } from "../../../engine/node/index.js";
import { ArgumentError } from "../../terminal/arguments.js";
import { say } from "../output/console.js";

/**
 * Opens a device and prints its name. Dawn's own bounds checks are off: every index in our kernels is guarded by its shape,
 * the tests run with the checks on, and a software adapter trains a fifth faster without them.
 * @throws ArgumentError if `adapter` matches no adapter
 */
export async function openAnnounced(adapter: string | undefined): Promise<Device> {
  let device: Device;
  try {
    device = await openNodeDevice({ robustness: false, ...(adapter !== undefined && { adapter }) });
  } catch (error) {
    const misnamed =
      error instanceof AdapterError && adapter !== undefined && (await listAdapters()).length > 0;
    throw misnamed ? new ArgumentError(`--adapter: ${error.message}`) : error;
  }
  say(
    `adapter   ${device.adapter.name}${device.adapter.software ? " - shaders run on the CPU; a GPU would be much faster" : ""}`,
  );
  return device;
}
