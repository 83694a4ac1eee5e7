/** Which puzzle is on the board, and the thoughts about it. */
import { effect, untracked } from "@preact/signals";
import type { Thought } from "../../../hrm/thinking/thoughts.js";
import type { Task } from "../../../hrm/puzzles/tasks/task.js";
import type { Look, ModelInfo, Report, Source } from "../protocol.js";
import {
  attended,
  cursor,
  figuresWanted,
  making,
  model,
  models,
  phase,
  playing,
  puzzle,
  task,
  thought,
  twin,
  watched,
  type Puzzle,
  type ShownThought,
} from "./page_state.js";

/** Puzzles that are tried at most until one needs several segments, and for how many milliseconds at most. */
const TRIES = 24;
const PATIENCE = 4000;
/** Thoughts during training take at most this share of the time. */
const SHARE = 0.05;
const LEAST_INTERVAL = 250;

let ask: (look: Look) => void = () => undefined;
let askedAt = 0;
let nextAt = 0;
let inFlight = false;
/** The page looks for a puzzle that needs several segments, and how many it may still try. */
let searching = 0;
let searchEnds = 0;
/** The best puzzle of those that did not fit: one that the model solves at least. */
let secondBest = 0;
/** The visitor moved the scrubber: a new thought about the same puzzle keeps its place. */
let held = false;
/** The held-out puzzle that was shown last, from 0. */
let lastHeld = -1;
/** The model of a file whose census was asked for. */
let counted: ModelInfo | null = null;

/** Gives looks a way to the worker. */
export function connectLooks(send: (look: Look) => void): void {
  ask = send;
  inFlight = false;
  attentionAsked = null;
  making.value = false;
}

/** The number of updates of the thought on the board; 0 without one. */
export const updatesOf = ({ segments, levels }: Thought): number => segments * levels.length;

/** The held-out puzzle of a model at an index, from 0. */
export function heldPuzzle({ held }: ModelInfo, index: number, length: number): Puzzle {
  const from = index * length;
  return {
    inputs: held.inputs.slice(from, from + length),
    label: held.labels.slice(from, from + length),
    index,
  };
}

/** Puts a held-out puzzle of the watched model on the board. */
export function showHeld(index: number): void {
  const [info, rules] = [model.value, task.value];
  if (!info || !rules || info.held.count === 0) return;
  searching = 0;
  lastHeld = index % info.held.count;
  show(heldPuzzle(info, lastHeld, rules.length));
}

/** The held-out puzzle after the one that was shown last, from 0. */
export const nextHeld = (): number => lastHeld + 1;

/** Looks for a held-out puzzle that the watched model solves, but not in its first segment. */
export function showFitting(): void {
  showHeld(0);
  searching = TRIES;
  searchEnds = performance.now() + PATIENCE;
  secondBest = -1;
}

/** Puts a puzzle on the board and asks what the model makes of it. */
export function show(next: Puzzle): void {
  held = false;
  playing.value = false;
  puzzle.value = next;
  think();
}

/** Asks for a new puzzle like the one on the board, or a harder one. */
export function wantNew(harder: boolean): void {
  const [shown, rules] = [puzzle.value, task.value];
  if (!shown || !rules || making.value) return;
  making.value = true;
  const [low, high] = crypto.getRandomValues(new Uint32Array(2));
  const seed = low! + (high! % 2 ** 21) * 2 ** 32;
  ask({ type: "make", task: rules.name, inputs: shown.inputs, harder, seed });
}

/** Puts a new puzzle on the board, unless the board shows another one by now. */
export function receiveNew({
  task: name,
  from,
  inputs,
  label,
  text,
}: Extract<Report, { type: "made" }>): void {
  making.value = false;
  if (task.value?.name !== name || !puzzle.value || !same(from, puzzle.value.inputs)) return;
  searching = 0;
  show({ inputs, label, index: null, made: text });
}

/** The visitor moves the scrubber. */
export function scrub(update: number): void {
  const shown = thought.value;
  if (!shown) return;
  held = true;
  searching = 0;
  cursor.value = Math.max(-1, Math.min(update, updatesOf(shown.thought) - 1));
}

/** The attention that was asked for: about which puzzle, of which model and step. */
let attentionAsked: ShownThought | null = null;

/** The visitor points at a cell, or moves to it: where does it attend? */
export function attend(cell: number | null): void {
  attended.value = cell;
  if (cell !== null) askForAttention();
}

/** Asks once for each thought that somebody looks at. */
function askForAttention(): void {
  const shown = thought.value;
  if (!shown || shown === attentionAsked || phase.value === "failed") return;
  attentionAsked = shown;
  ask({ type: "attention", source: shown.source, inputs: shown.inputs });
}

/** Whether maps belong to a puzzle and a model. */
export const isOf = (
  maps: Pick<ShownThought, "source" | "inputs"> | null,
  shown: ShownThought | null,
): boolean =>
  maps !== null && shown !== null && maps.source === shown.source && same(maps.inputs, shown.inputs);

/** Asks for a thought about the puzzle on the board. */
export function think(): void {
  const shown = puzzle.value;
  if (!shown || !model.value || phase.value === "failed") return;
  inFlight = true;
  askedAt = performance.now();
  ask({ type: "think", source: watched.value, inputs: shown.inputs });
  if (figuresWanted.value) ask({ type: "twin", source: watched.value, inputs: shown.inputs });
}

/** Asks for a new thought after a report of training, if the last thought is old. */
export function thinkAgain(): void {
  if (watched.value === "run" && !inFlight && performance.now() >= nextAt) think();
}

/** Whether a model would stop after a segment (paper, "Adaptive computational time"); halt-only models look at q_halt alone. */
export const wantsToStop = (qHalt: number, qContinue: number, haltOnly: boolean): boolean =>
  haltOnly ? qHalt > 0 : qHalt > qContinue;

/** The update after whose segment the model first wants to stop; -1 if it never does. */
export function firstStop({ segments, levels, qHalt, qContinue }: Thought, haltOnly: boolean): number {
  for (let segment = 0; segment < segments; segment++) {
    const last = (segment + 1) * levels.length - 1;
    if (wantsToStop(qHalt[last]!, qContinue[last]!, haltOnly)) return last;
  }
  return -1;
}

/** The board after an update: tokens and how sure the model is of them. */
export function boardAt(thought: Thought, update: number): { tokens: Int32Array; confidence: Float32Array } {
  const [from, to] = [update * thought.length, (update + 1) * thought.length];
  return { tokens: thought.tokens.subarray(from, to), confidence: thought.confidence.subarray(from, to) };
}

/**
 * Whether the answer after a segment (from 0) obeys every rule; if no rules are known, whether it is the known answer; null
 * if neither is known.
 */
export function solvedAfter(
  rules: Task,
  { inputs, thought }: ShownThought,
  segment: number,
  label: Int32Array | null = null,
): boolean | null {
  const { tokens } = boardAt(thought, (segment + 1) * thought.levels.length - 1);
  const { solved } = rules.check(inputs, tokens);
  return solved ?? (label && label.every((wanted, cell) => wanted < 0 || wanted === tokens[cell]));
}

const same = (a: Int32Array, b: Int32Array): boolean =>
  a.length === b.length && a.every((x, i) => x === b[i]);

/** The known answer of the puzzle that a thought is about; null if none is known. */
export const labelOf = ({ inputs }: ShownThought): Int32Array | null =>
  puzzle.value && same(inputs, puzzle.value.inputs) ? puzzle.value.label : null;

/** Takes a thought that the worker reports; one about a puzzle that was left is dropped. */
export function receiveThought(isTwin: boolean, next: ShownThought): void {
  const shown = puzzle.value;
  if (next.source !== watched.value || !shown || !same(next.inputs, shown.inputs)) return;
  if (isTwin) {
    twin.value = next;
    return;
  }
  inFlight = false;
  const now = performance.now();
  nextAt = now + Math.max(LEAST_INTERVAL, (now - askedAt) / SHARE);
  const rules = task.value!;
  if (searching > 0 && shown.index !== null) {
    const { segments } = next.thought;
    const solved = (segment: number): boolean | null => solvedAfter(rules, next, segment, shown.label);
    const fits = solved(0) === false && solved(segments - 1) === true;
    if (!fits) {
      if (secondBest < 0 && solved(segments - 1) === true) secondBest = shown.index;
      const left = performance.now() < searchEnds ? searching - 1 : 0;
      const next = left === 0 ? Math.max(0, secondBest) : shown.index + 1;
      if (next !== shown.index) {
        showHeld(next);
        searching = left;
        return;
      }
    }
    searching = 0;
  }
  const before = thought.value;
  const isNew = before?.source !== next.source || !same(before.inputs, next.inputs);
  thought.value = next;
  if (attended.value !== null) askForAttention();
  const last = updatesOf(next.thought) - 1;
  if (!isNew) cursor.value = held ? Math.min(cursor.value, last) : last;
  else if (phase.value === "training" || matchMedia("(prefers-reduced-motion: reduce)").matches)
    cursor.value = last;
  else {
    cursor.value = -1;
    playing.value = true;
  }
}

/**
 * Asks for the census of the watched model, if there is none yet and it is wanted. The sentence about a file's model needs its
 * census; that of a run comes from its validation. While the trainer is compiled, only figures that somebody looks at are worth
 * the time that a census takes from the compiler.
 */
export function askForCensus(): void {
  const source = watched.value;
  const info = models.value[source];
  const isWanted = figuresWanted.value || (source === "file" && phase.value !== "preparing");
  if (!isWanted || !info || info.held.count === 0 || phase.value === "failed") return;
  // A file's model stays as it is.
  if (source === "file" && counted === info) return;
  if (source === "file") counted = info;
  ask({ type: "census", source });
}

/** Shows another model; its board begins with a puzzle that suits it. */
export function watch(source: Source, index: number | null = null): void {
  if (!models.value[source]) return;
  watched.value = source;
  thought.value = null;
  twin.value = null;
  if (index !== null) showHeld(index);
  else if (source === "file") showFitting();
  else showHeld(0);
  askForCensus();
  if (figuresWanted.value && models.value[source].held.count > 0) ask({ type: "states", source });
}

/** Milliseconds between two updates while it plays. */
const BEAT = 380;

/** Plays the thought on the board to its end. */
export function startPlayer(): void {
  let timer: ReturnType<typeof setInterval> | undefined;
  effect(() => {
    clearInterval(timer);
    if (!playing.value) return;
    timer = setInterval(() => {
      const shown = untracked(() => thought.value);
      const last = shown ? updatesOf(shown.thought) - 1 : -1;
      if (cursor.value >= last) playing.value = false;
      else cursor.value++;
    }, BEAT);
  });
}

/** Starts at the puzzle if the end is shown. */
export function play(): void {
  const shown = thought.value;
  if (!shown) return;
  held = false;
  if (cursor.value >= updatesOf(shown.thought) - 1) cursor.value = -1;
  playing.value = true;
}
