/** What programs are compiled for. */
import type { Capabilities } from "../kernels/capabilities.js";
import type { ChooseHalves } from "./compiler/plan.js";

/**
 * Everything that decides which kernels a program becomes: limits, kernel library, chosen variants and precision. A
 * target is a value: {@link Device.target} offers one, and another is made by a copy with changes, such as
 * `{ ...device.target, capabilities: { ...device.target.capabilities, choices } }`.
 */
export interface Target {
  readonly capabilities: Capabilities;
  /** What programs store in f16; absent: nothing. */
  readonly chooseHalves?: ChooseHalves | undefined;
}
