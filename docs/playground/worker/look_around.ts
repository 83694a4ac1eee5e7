/** Answers looks at files of puzzles, at planned runs, and at the programs of the run. */
import { EngineError, UsageError, type Device } from "../../../engine/index.js";
import { FileFormatError } from "../../../hrm/files/file_format_error.js";
import type { Preset } from "../../../hrm/training/presets.js";
import type { Session } from "../../../hrm/training/session.js";
import type { Look, PuzzleFile, Report } from "../protocol.js";
import { findTask } from "../../../hrm/puzzles/tasks/registry.js";
import { newPuzzle, textOfNew } from "../puzzles/new_puzzle.js";
import { estimateRun } from "./estimate.js";
import type { Subject } from "./subject.js";
import { readPuzzles } from "./own_puzzles.js";
import { shownPrograms } from "./programs.js";

/** The run that is looked at. */
interface Run {
  readonly preset: Preset;
  readonly session: Session;
  readonly subject: Subject;
}

/** What a look sees; null if it needs a run and there is none. */
export async function lookAround(
  look: Exclude<Look, { source: unknown }>,
  device: Device,
  run: Run | null,
): Promise<Report | null> {
  switch (look.type) {
    case "puzzles":
      return lookAtPuzzles(look.file);
    case "make":
      return makePuzzle(look);
    case "estimate":
      return { type: "estimate", estimate: await estimateRun(device.target, look.run, run) };
    case "programs":
      return run && { type: "programs", programs: shownPrograms(run.session.trainer) };
    case "profile":
      return run && profile(run);
  }
}

function makePuzzle({ task: name, inputs, harder, seed }: Extract<Look, { type: "make" }>): Report {
  const task = findTask(name)!;
  try {
    const { label, ...made } = newPuzzle(task, { inputs, harder, seed })!;
    return {
      ...{ type: "made", task: name, from: inputs, inputs: made.inputs, label },
      text: textOfNew(task, made, harder),
    };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { type: "refused", failure: { code: "other", message: error.message } };
  }
}

async function profile({ preset, session, subject }: Run): Promise<Report> {
  const { device, target } = subject;
  try {
    // What measures a device is loaded by those who want it measured.
    const { profileRun } = await import("./profile.js");
    return { type: "profile", profile: await profileRun({ preset, session, device, target }) };
  } catch (error) {
    // A device that was lost ends the run, and nothing else does.
    if (!(error instanceof EngineError) || error.code === "device-lost") throw error;
    return { type: "refused", failure: { code: "other", message: error.message } };
  }
}

async function lookAtPuzzles(puzzles: PuzzleFile): Promise<Report> {
  const { id } = puzzles;
  try {
    const { name, task, set, notes } = await readPuzzles(puzzles);
    return { type: "puzzles", id, info: { id, name, task: task.name, count: set.count, notes } };
  } catch (error) {
    if (!(error instanceof FileFormatError)) throw error;
    return { type: "puzzles", id, problem: error.message };
  }
}
