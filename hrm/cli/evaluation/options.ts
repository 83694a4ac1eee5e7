/** Options of `hrm eval` that say when a puzzle stops, and how often it is answered. */
import { UsageError } from "../../../engine/index.js";
import type { Image } from "../../puzzles/images_on_host.js";
import type { Task } from "../../puzzles/tasks/task.js";
import { ArgumentError, type Option, type Values } from "../../terminal/arguments.js";
import { imagesOf } from "../../training/image_votes.js";
import { say } from "../output/console.js";

export const choiceOptions = {
  "halt-above": {
    type: "float",
    help: "stop a puzzle once q_halt (after full ACT: q_halt minus q_continue) is above this number, and give its place to the next puzzle",
    defaultText: "every puzzle runs all segments",
  },
  images: {
    type: "int",
    min: 1,
    max: 1000,
    help: "answer so many symmetric images of each puzzle, the puzzle itself among them, and vote",
    defaultText: "1",
  },
  tries: {
    type: "int",
    min: 1,
    max: 1000,
    help: "try each puzzle so often with noise on the latents, the first time without, and take the answer with the largest q_halt",
    defaultText: "1",
  },
  noise: {
    type: "float",
    help: "with --tries: standard deviation of the noise that is added to every element of the latents before each segment",
    defaultText: "0.1",
  },
  "vote-seed": {
    type: "int",
    min: 0,
    max: 2 ** 32 - 1,
    help: "with --images or --tries: decides images and noise",
    defaultText: "0",
  },
} as const satisfies Record<string, Option>;

/** When a puzzle stops, and how often it is answered. */
export interface Choice {
  /** Undefined if every puzzle runs all segments. */
  readonly haltAbove: number | undefined;
  /** The first is the puzzle itself. */
  readonly images: readonly Image[];
  readonly tries: number;
  /** Noise of the tries; undefined for one try. */
  readonly noise: { readonly tries: number; readonly deviation: number; readonly seed: number } | undefined;
}

/** The choice of a command line. @throws ArgumentError */
export function choiceOf(values: Values<typeof choiceOptions>, task: Task): Choice {
  const {
    images: count = 1,
    tries = 1,
    noise: deviation,
    "vote-seed": given,
    "halt-above": haltAbove,
  } = values;
  if (deviation !== undefined && tries < 2)
    throw new ArgumentError(
      `--noise: got ${deviation} without --tries; expected at least --tries 2, as the first try has no noise.`,
    );
  if (deviation !== undefined && !(deviation > 0 && deviation <= 100))
    throw new ArgumentError(`--noise: got ${deviation}; expected a number above 0, at most 100.`);
  if (given !== undefined && count * tries < 2)
    throw new ArgumentError(`--vote-seed: got ${given} without --images or --tries; expected one of them.`);
  const seed = given ?? 0;
  if (count > 1 && !task.symmetry)
    throw new ArgumentError(`--images: got ${count}; expected 1, as ${task.name} has no symmetries.`);
  if (count * tries > 1)
    say(`cost      ${count * tries} forward passes for each puzzle (${count} images x ${tries} tries)`);
  return {
    haltAbove,
    images:
      count > 1 ? images(task, count, seed) : [{ source: [...new Array(task.length).keys()], tokens: null }],
    tries,
    noise: tries > 1 ? { tries, deviation: deviation ?? 0.1, seed } : undefined,
  };
}

function images(task: Task, count: number, seed: number): Image[] {
  try {
    return imagesOf(task.symmetry!, count, seed);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new ArgumentError(`--images: ${error.message.replace("imagesOf: ", "")}`);
  }
}
