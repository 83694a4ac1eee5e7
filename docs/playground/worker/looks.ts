/** Answers looks at a model: programs are compiled at the first look of their kind and kept. */
import { inferenceSegments } from "../../../hrm/model/config.js";
import { createWeights, initialState, type Weights } from "../../../hrm/model/parameters.js";
import { createCensus, type Censor } from "../../../hrm/thinking/census.js";
import { createThinker, type Thinker } from "../../../hrm/thinking/thoughts.js";
import type { Look, Report } from "../protocol.js";
import { firstPuzzles, type Subject } from "./subject.js";

/** Puzzles of a census: as many as a person can imagine. */
const CENSUS = 100;
/** Times the trained number of segments that a census runs, to show what more of them bring. */
const BEYOND = 2;

/** What a look sees. */
export async function answerLook(
  look: Extract<Look, { source: unknown }>,
  subject: Subject,
): Promise<Report> {
  const { device, target, config, weights, made } = subject;
  const { source } = look;
  const step = subject.step();
  if (look.type === "census") {
    made.census ??= await censusOf(subject);
    return { type: "census", source, step, census: await made.census.take() };
  }
  if (look.type === "states") {
    // What follows states is loaded by those who come near their figure.
    made.states ??= await (await import("./state_watch.js")).watchStates(subject);
    return { type: "states", source, step, states: await made.states.look() };
  }
  if (look.type === "attention") {
    const { inputs } = look;
    // This module is loaded only if the visitor asks where a cell looks.
    const { attends, createAttentionRecorder } = await import("../../../hrm/thinking/attention_maps.js");
    if (!attends(config)) return { type: "attention", source, step, inputs, maps: null };
    made.attention ??= await createAttentionRecorder({ device, target, config, weights });
    return { type: "attention", source, step, inputs, maps: await made.attention.record(inputs) };
  }
  const twin = look.type === "twin";
  if (twin) made.twin ??= await twinOf(subject);
  else made.thinker ??= await createThinker({ device, target, config, weights });
  const thinker = twin ? made.twin! : made.thinker!;
  const { inputs } = look;
  return { type: "thought", source, twin, step, inputs, thought: await thinker.think(inputs) };
}

function censusOf({ device, target, config, weights, held }: Subject): Promise<Censor> {
  if (!held) throw new Error("No puzzles are known for this model, so that there is no census of them.");
  const data = firstPuzzles(held, CENSUS);
  const segments = BEYOND * inferenceSegments(config);
  return createCensus({
    device,
    target,
    // With the rows of training its kernels are those of validation, most of which are compiled already.
    config: { ...config, batch_size: Math.min(config.batch_size, data.count) },
    weights,
    data,
    segments,
  });
}

async function twinOf({ device, target, config, seed }: Subject): Promise<Thinker & { weights: Weights }> {
  const weights = createWeights(device, config, initialState(config, seed));
  return { ...(await createThinker({ device, target, config, weights })), weights };
}

/** Frees what was made to look at a model, and its weights if they are its own. */
export function freeSubject({ made, weights }: Subject, own: boolean): void {
  made.thinker?.destroy();
  made.census?.destroy();
  made.states?.destroy();
  made.attention?.destroy();
  made.twin?.destroy();
  const free = [...(made.twin?.weights.values() ?? []), ...(own ? weights.values() : [])];
  for (const variable of free) variable.destroy();
}
