/**
 * Cross entropy of one row of logits against a label, with the predicted class (first index of the largest logit).
 *
 *   softmax    p_j = exp(x_j) / sum exp(x)
 *   stablemax  p_j = s(x_j) / sum s(x),  s(x) = x + 1 for x >= 0, 1 / (1 - x) for x < 0   (Prieto et al. 2025, eq. 5-6)
 *   loss = log(sum) - log(s_y);   d x_j = dLoss (s'(x_j) / sum - [j = y] s'(x_j) / s_y),  s' = 1 or 1 / (1 - x)^2
 *
 * A row belongs to one thread, because the models here have many rows and few classes.
 */
import { KernelError, requireBindable, requirePositive, type Kernel } from "./core/kernel.js";
import type { Capabilities } from "./capabilities.js";
import { bindingsOf, linearThreads, lines, shader, type ShaderBinding } from "./core/wgsl.js";

/** What a cross-entropy kernel computes. */
export interface CrossEntropySpec {
  /** Rows of logits, N. */
  readonly rows: number;
  /** Logits of a row, C. */
  readonly classes: number;
  /** How logits become probabilities; stablemax is that of arXiv 2501.04697. */
  readonly kind: "stablemax" | "softmax";
  /** Rows with this label, or with a label outside 0..classes-1, have loss 0 and gradient 0. */
  readonly ignoreLabel: number;
}

const STABLEMAX = lines(
  "fn s(x: f32) -> f32 { return select(1.0 / (1.0 - min(x, 0.0)), x + 1.0, x >= 0.0); }",
  "fn log_s(x: f32) -> f32 { return sign(x) * log(abs(x) + 1.0); }",
);

/** Bindings: logits [rows, classes], labels i32 [rows], loss [rows], prediction i32 [rows]. */
export function crossEntropy(spec: CrossEntropySpec, capabilities: Capabilities): Kernel {
  const { rows, classes, kind, ignoreLabel } = spec;
  return rowKernel(`cross_entropy_${kind}_${rows}x${classes}`, spec, capabilities, {
    outputs: [
      { name: "loss", access: "read_write", dtype: "f32" },
      { name: "prediction", access: "read_write", dtype: "i32" },
    ],
    flops: 4 * rows * classes,
    bytes: 4 * rows * (classes + 3),
    body: lines(
      largest(classes),
      "prediction[row] = i32(best);",
      total(spec),
      "let label = labels[row];",
      `let counts = label != ${ignoreLabel} && label >= 0 && label < ${classes};`,
      `let y = logits[base + u32(clamp(label, 0, ${classes - 1}))];`,
      `loss[row] = select(0.0, ${kind === "softmax" ? "log(total) - (y - top)" : "log(total) - log_s(y)"}, counts);`,
    ),
  });
}

/** Bindings: logits [rows, classes], labels i32 [rows], d_loss [rows], d_logits [rows, classes]. */
export function crossEntropyBackward(spec: CrossEntropySpec, capabilities: Capabilities): Kernel {
  const { rows, classes, kind, ignoreLabel } = spec;
  return rowKernel(`cross_entropy_backward_${kind}_${rows}x${classes}`, spec, capabilities, {
    outputs: [
      { name: "d_loss", access: "read", dtype: "f32" },
      { name: "d_logits", access: "read_write", dtype: "f32" },
    ],
    flops: 8 * rows * classes,
    bytes: 4 * rows * (2 * classes + 2),
    body: lines(
      kind === "softmax" && largest(classes),
      total(spec),
      "let label = labels[row];",
      `let counts = label != ${ignoreLabel} && label >= 0 && label < ${classes};`,
      "let scale = select(0.0, d_loss[row], counts);",
      `for (var j = 0u; j < ${classes}u; j++) {`,
      "let x = logits[base + j];",
      "let hit = select(0.0, 1.0, i32(j) == label);",
      kind === "softmax"
        ? "d_logits[base + j] = scale * (exp(x - top) / total - hit);"
        : // s' = q^2 and s = q below zero; 1 and 1/q above. This divides no numbers that may have underflowed.
          lines(
            "let q = 1.0 / (1.0 + abs(x));",
            "d_logits[base + j] = scale * select(q * (q / total - hit), 1.0 / total - hit * q, x >= 0.0);",
          ),
      "}",
    ),
  });
}

function largest(classes: number): string {
  return lines(
    "var best = 0u;",
    "var top = logits[base];",
    `for (var j = 1u; j < ${classes}u; j++) {`,
    "let x = logits[base + j];",
    "if (x > top) { top = x; best = j; }",
    "}",
  );
}

function total({ kind, classes }: CrossEntropySpec): string {
  return lines(
    "var total = 0.0;",
    `for (var j = 0u; j < ${classes}u; j++) {`,
    `total += ${kind === "softmax" ? "exp(logits[base + j] - top)" : "s(logits[base + j])"};`,
    "}",
  );
}

function rowKernel(
  name: string,
  { rows, classes, kind, ignoreLabel }: CrossEntropySpec,
  capabilities: Capabilities,
  parts: { outputs: readonly ShaderBinding[]; flops: number; bytes: number; body: string },
): Kernel {
  requirePositive(name, { rows, classes });
  if ((ignoreLabel | 0) !== ignoreLabel)
    throw new KernelError(name, `ignoreLabel = ${ignoreLabel}`, "a 32-bit integer, as labels are");
  requireBindable(name, { logits: rows * classes }, capabilities);
  const workgroupSize = capabilities.software ? 16 : 64;
  const bindings: ShaderBinding[] = [
    { name: "logits", access: "read", dtype: "f32" },
    { name: "labels", access: "read", dtype: "i32" },
    ...parts.outputs,
  ];
  const { workgroups, prologue } = linearThreads(name, rows, workgroupSize, capabilities);
  const body = lines(prologue, "let row = index;", `let base = row * ${classes}u;`, parts.body);
  const code = shader({
    bindings,
    workgroupSize,
    ...(kind === "stablemax" && { declarations: STABLEMAX }),
    body,
  });
  return { name, code, bindings: bindingsOf(bindings), workgroups, flops: parts.flops, bytes: parts.bytes };
}
