/** Every kernel case of the suite. */
import type { KernelCase } from "../kernel_case.js";
import { attentionCases } from "./attention.js";
import { elementCases } from "./elements.js";
import { matmulCases } from "./matmul.js";
import { rowCases } from "./rows.js";

export const kernelCases: readonly KernelCase[] = [
  ...matmulCases,
  ...attentionCases,
  ...rowCases,
  ...elementCases,
];
