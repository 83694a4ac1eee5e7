/** The device that the GPU suites share: Dawn under Node, navigator.gpu in a browser. Never skips: no adapter is a failure. */
import type { Device } from "../../engine/index.js";
import { openTestDevice } from "./platform.js";

let device: Promise<Device> | undefined;

/** One device for all suites of this process or page. */
export function testDevice(): Promise<Device> {
  device ??= openTestDevice();
  return device;
}
