/** What is known of an answer: by the task's rules if there are any, else by the label if there is one. */
import type { Task } from "./task.js";

/** A judgement of an answer. */
export interface Judgement {
  /** Null if there are neither rules nor a label. */
  readonly solved: boolean | null;
  /** Cells that break a rule, or without rules those that differ from the label; ascending. */
  readonly wrong: readonly number[];
  /** Cells that differ from the label; null if there is no label. */
  readonly differing: number | null;
  /** The judgement in a sentence. */
  readonly text: string;
}

/** Judges an answer to a puzzle. All are tokens, [length]; negative labels are not compared. */
export function judge(
  task: Task,
  input: Int32Array,
  answer: Int32Array,
  label: Int32Array | null = null,
): Judgement {
  const compared = label ? Array.from(label.keys()).filter((cell) => label[cell]! >= 0) : [];
  const unlike = compared.filter((cell) => label![cell] !== answer[cell]);
  const differing = compared.length > 0 ? unlike.length : null;
  const { solved, violations } = task.check(input, answer);
  const cells = (count: number): string => `${count} ${count === 1 ? "cell" : "cells"}`;
  if (solved === true) {
    const other = differing
      ? ` The label differs in ${cells(differing)}: the puzzle has several answers, or the label is wrong.`
      : "";
    return { solved, wrong: violations, differing, text: `Solved: every rule holds.${other}` };
  }
  if (solved === false)
    return { solved, wrong: violations, differing, text: "Not solved: rules are broken or cells are empty." };
  if (differing === null) {
    const text = `Not judged: no rules are known for ${task.name}, and there is no label to compare with.`;
    return { solved: null, wrong: [], differing, text };
  }
  const text =
    differing === 0
      ? `Right: equal to the label (no rules are known for ${task.name}).`
      : `Wrong: ${differing} of ${compared.length} cells differ from the label (no rules are known for ${task.name}).`;
  return { solved: differing === 0, wrong: unlike, differing, text };
}
