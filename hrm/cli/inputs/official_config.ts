/** The configuration that the official code writes beside its checkpoints: `all_config.yaml`, or the same as JSON. */
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { isModelField, isTrainField } from "../../model/config.js";
import { formatText } from "../../format_value.js";
import { isAddress, pathOf } from "./read_input.js";
import { JsonError } from "./strict_json.js";

/** Its names beside a checkpoint. */
const NAMES = ["all_config.yaml", "all_config.yml", "all_config.json"];
/** The most bytes of a configuration, which has some lines. */
const LARGEST = 1 << 20;

/** Fields of a configuration file under the names used here. */
export interface ConfigFields {
  readonly fields: Record<string, unknown>;
  /** Fields of the official file that do not concern the model or its training steps. */
  readonly unused: readonly string[];
}

/** The path of the official configuration beside a checkpoint; null if there is none, or if the checkpoint is not a file. */
export async function configBeside(checkpoint: string): Promise<string | null> {
  if (isAddress(checkpoint)) return null;
  for (const name of NAMES) {
    const path = join(dirname(pathOf(checkpoint)), name);
    const found = await stat(path).catch(() => null);
    if (found?.isFile() && found.size <= LARGEST) return path;
  }
  return null;
}

/** True for text that begins like JSON. */
export const looksLikeJson = (text: string): boolean => /^\s*[[{"]/.test(text);

/** The value of YAML text. @throws JsonError that says in one line where the text is not YAML */
export function parseYaml(text: string): unknown {
  if (text.length > LARGEST)
    throw new JsonError(1, `begins a text of ${text.length} characters; expected at most ${LARGEST}`);
  try {
    return parse(text, { maxAliasCount: 100, logLevel: "error" }) as unknown;
  } catch (error) {
    const { message, linePos } = error as { message: string; linePos?: readonly { line: number }[] };
    const reason = formatText(message.split("\n")[0]!, 120);
    throw new JsonError(linePos?.[0]?.line ?? 1, `is neither JSON nor YAML (${reason})`);
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** True for the official layout, in which `arch` holds the fields of the model. */
export const isOfficial = (value: Record<string, unknown>): boolean =>
  Object.hasOwn(value, "arch") && isRecord(value["arch"]);

/** The model's file in the official code, as in "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1". */
const FAMILY = /(?:^|\.)(\w+)@/;
/** Fields of TRM's `arch` that are read under another name. */
const TRM_FIELDS = ["name", "no_ACT_continue"];

/**
 * The fields of an official configuration: the fields of `arch` and its loss, and the fields of training under their own
 * names. `${.hidden_size}` (in the sources of the official code) stands for the field of that name.
 */
export function officialFields(value: Record<string, unknown>): ConfigFields {
  const arch = value["arch"] as Record<string, unknown>;
  const loss = isRecord(arch["loss"]) ? arch["loss"] : {};
  const fields: Record<string, unknown> = {};
  const unused: string[] = [];
  const resolved = (field: unknown): unknown => {
    const name = typeof field === "string" && /^\$\{\.(\w+)\}$/.exec(field)?.[1];
    return name ? arch[name] : field;
  };
  const family = typeof arch["name"] === "string" ? FAMILY.exec(arch["name"])?.[1] : undefined;
  const trm = family === "trm" || family === "trm_singlez";
  for (const [name, field] of Object.entries(arch)) {
    // TRM has one network without layers of H, so official files say 0.
    if (name === "H_layers" && trm) continue;
    if (isModelField(name)) fields[name] = resolved(field);
    else if (name !== "loss" && !(trm && TRM_FIELDS.includes(name))) unused.push(`arch.${name}`);
  }
  if (trm) {
    fields["arch"] = family;
    fields["halt_only"] = arch["no_ACT_continue"] ?? true;
    if (typeof fields["L_cycles"] === "number") fields["bp_steps"] = fields["L_cycles"] + 1;
  }
  // The official code sets it for every model, whatever its configuration says.
  fields["causal"] ??= false;
  if (loss["loss_type"] !== undefined) fields["loss_type"] = loss["loss_type"];
  for (const [name, field] of Object.entries(value)) {
    if (name === "arch" || (trm && name === "ema_rate")) continue;
    if (trm && name === "ema") {
      if (field === true) Object.assign(fields, { ema_decay: value["ema_rate"] ?? 0.999, ema_warmup: false });
      continue;
    }
    if (name === "global_batch_size") fields["batch_size"] = field;
    else if (isModelField(name) || isTrainField(name)) fields[name] = field;
    else unused.push(name);
  }
  return { fields, unused };
}
