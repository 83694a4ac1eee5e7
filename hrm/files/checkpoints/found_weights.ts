/**
 * Finds weights in files of any origin: which tensors belong to the model, whatever wrappers changed their names, and which
 * are a moving average of them. All names that are not used are listed.
 */
import { FileFormatError } from "../file_format_error.js";
import { pointerProblem } from "../unsupported_formats.js";
import { readSafetensors, type SafetensorsTensor } from "../tensors/safetensors.js";
import {
  isTorch,
  namesAverage,
  readTorchFile,
  requireDict,
  SAVE_ANEW,
  type TorchDict,
} from "../tensors/torch.js";
import { formatValue, formatNames, formatText } from "../../format_value.js";

/** Prefix of official names if a compiled model was saved in its loss head; `evaluate.py` accepts it for all models. */
export const OFFICIAL_PREFIX = "_orig_mod.model.";

/** Parts that wrappers add to names, in any order and number: DataParallel, compile, Lightning, FSDP, checkpointing. */
const WRAPPERS = new Set([
  ...["module", "_orig_mod", "model", "inner", "net", "network", "state_dict", "_forward_module"],
  ...["_fsdp_wrapped_module", "_checkpoint_wrapped_module"],
]);

/** First parts of the names of the model's tensors. */
const PARTS = /^(embed_tokens|embed_pos|puzzle_emb|[HL]_level|lm_head|q_head|[HL]_init)$/;

/** Every model has these embeddings. */
const SIGN = "inner.embed_tokens.embedding_weight";

/** Tensors of a model under their official names. */
export type NamedTensors = ReadonlyMap<string, SafetensorsTensor>;

/** The tensors of a model in a file. */
export interface FoundWeights {
  /** Null if the file holds only a moving average. */
  readonly raw: NamedTensors | null;
  /** The moving average, which may lack tensors that are not parameters. Null if the file has no average. */
  readonly average: NamedTensors | null;
  /** Descriptions of values under official names that cannot be read as tensors, by that name: `an object of x.Y`. */
  readonly unreadable: ReadonlyMap<string, string>;
  /** Names and keys of the file that belong to neither group, without tensors under an official name. */
  readonly unused: readonly string[];
  /** The prefix of the raw weights besides wrappers, such as `student`; null if there are only wrappers. */
  readonly behind: string | null;
}

/** The official name of a tensor, and its prefix besides wrappers; null if the tensor does not belong to a model. */
function officialName(name: string): { readonly owner: string; readonly short: string } | null {
  const parts = name.split(".");
  const at = parts.findIndex((part) => PARTS.test(part));
  if (at === -1) return null;
  const plain = (some: readonly string[]): string => some.filter((part) => !WRAPPERS.has(part)).join(".");
  return { owner: plain(parts.slice(0, at)), short: `inner.${plain(parts.slice(at))}` };
}

/** The names of a dict, by prefix; the prefix is `""` if there are only wrappers. */
function owners(names: Iterable<string>): { of: Map<string, Map<string, string>>; rest: string[] } {
  const of = new Map<string, Map<string, string>>();
  const rest: string[] = [];
  for (const name of names) {
    const found = officialName(name);
    if (!found) {
      rest.push(name);
      continue;
    }
    const group = of.get(found.owner) ?? new Map<string, string>();
    of.set(found.owner, group);
    const before = group.get(found.short);
    if (before !== undefined)
      throw new FileFormatError(
        "checkpoint",
        `it holds ${found.short} twice, as ${formatText(before)} and as ${formatText(name)}; expected one of them`,
      );
    group.set(found.short, name);
  }
  return { of, rest };
}

/** The dicts of tensors in a file, with the most likely weights first, and the keys of the outermost dict. */
interface TensorDicts {
  readonly dicts: readonly TorchDict[];
  readonly keys: readonly string[];
}

function tensorDicts(bytes: Uint8Array): TensorDicts {
  const pointer = pointerProblem(bytes);
  if (pointer !== null) throw new FileFormatError("checkpoint", pointer);
  if (isTorch(bytes)) {
    const file = readTorchFile(bytes);
    requireDict(file, file.dicts[0]);
    return file;
  }
  const { tensors } = readSafetensors(bytes);
  return { dicts: [dictOf(tensors)], keys: [...tensors.keys()] };
}

const dictOf = (tensors: NamedTensors): TorchDict => ({
  ...{ path: [], average: false, names: [...tensors.keys()], others: new Map<string, string>() },
  read: () => tensors,
});

/** A group of tensors of one dict. */
interface Group {
  readonly dict: TorchDict;
  readonly owner: string;
  /** Names in the dict, by official name. */
  readonly names: ReadonlyMap<string, string>;
}

function groupsOf(dicts: readonly TorchDict[]): Group[] {
  return dicts.flatMap((dict) =>
    [...owners(dict.names).of].map(([owner, names]) => ({ dict, owner, names })),
  );
}

const isAverage = ({ dict, owner }: Group): boolean =>
  dict.average || owner.split(".").some((part) => namesAverage(part));

function chooseGroups(groups: readonly Group[]): { raw: Group | null; average: Group | null } {
  const whole = groups.filter(({ names }) => names.has(SIGN));
  const average = whole.find(isAverage) ?? null;
  const own = whole.filter((group) => !isAverage(group));
  const plain = own.find(({ owner }) => owner === "");
  if (plain || own.length === 0) return { raw: plain ?? null, average };
  if (own.length > 1)
    throw new FileFormatError(
      "checkpoint",
      `it holds the weights of several models, named ${formatNames(own.map(({ owner }) => owner))}; expected those of one: save one state dict alone`,
    );
  return { raw: own[0]!, average };
}

const readGroup = ({ dict, names }: Group): NamedTensors => {
  const tensors = dict.read();
  return new Map([...names].map(([short, name]) => [short, tensors.get(name)!]));
};

/** Finds a model's weights in the bytes of a file. @throws FileFormatError if the file has no weights */
export function findWeights(bytes: Uint8Array): FoundWeights {
  return found(tensorDicts(bytes));
}

/** Finds a model's weights among tensors. @throws FileFormatError if there are no weights */
export function findAmong(tensors: NamedTensors): FoundWeights {
  return found({ dicts: [dictOf(tensors)], keys: [...tensors.keys()] });
}

function found(file: TensorDicts): FoundWeights {
  const { raw, average } = chooseGroups(groupsOf(file.dicts));
  if (!raw && !average) {
    const unread = file.dicts
      .flatMap(({ others }) => [...others])
      .find(([name]) => officialName(name)?.short === SIGN);
    throw new FileFormatError(
      "checkpoint",
      unread
        ? `its ${formatText(unread[0])} is ${unread[1]}; expected a tensor; ${SAVE_ANEW}`
        : foreignModel(file.dicts),
    );
  }
  const used = [raw, average].filter((group) => group !== null);
  const unreadable = new Map<string, string>();
  for (const [name, what] of used[0]!.dict.others) {
    const short = officialName(name)?.short;
    if (short !== undefined) unreadable.set(short, what);
  }
  return {
    raw: raw && readGroup(raw),
    average: average && readGroup(average),
    unreadable,
    unused: unusedOf(file, used),
    behind: raw && raw.owner !== "" ? raw.owner : null,
  };
}

/** Keys of the outermost dict, and names in the used dicts, that belong to no used group. */
function unusedOf({ dicts, keys }: TensorDicts, used: readonly Group[]): string[] {
  const taken = new Set(used.flatMap(({ dict }) => dict.path.slice(0, 1)));
  const root = dicts.find(({ path }) => path.length === 0);
  const names = new Set(used.flatMap(({ names: own }) => [...own.values()]));
  if (root && used.some(({ dict }) => dict === root))
    return keys.filter((key) => !names.has(key) && !taken.has(key));
  const within = used.flatMap(({ dict }) => [...dict.names, ...dict.others.keys()]);
  return [...keys.filter((key) => !taken.has(key)), ...within.filter((name) => !names.has(name))];
}

/** Patterns of tensor names of other models. */
const FAMILIES: readonly (readonly [names: RegExp, family: string])[] = [
  [/(^|\.)layers\.\d+\.self_attn\.q_proj\./, "a language model of Llama's kind"],
  [/(^|\.)h\.\d+\.attn\.c_attn\./, "a language model of GPT-2's kind"],
  [/(^|\.)encoder\.layer\.\d+\.attention\.self\./, "an encoder of BERT's kind"],
  [/(^|\.)(encoder|decoder)\.block\.\d+\.layer\.\d+\./, "an encoder and decoder of T5's kind"],
  [/(^|\.)blocks\.\d+\.attn\.qkv\./, "a vision transformer"],
  [/(^|\.)layer\d\.\d+\.conv\d\./, "a ResNet"],
  [/(^|\.)(down|up)_blocks\.\d+\./, "a diffusion model's U-Net"],
  [/\.lora_[AB]\./, "an adapter (LoRA), which holds changes of weights alone"],
];

/** The message about tensors of another model: its family as far as the names tell, and the kinds of names. */
function foreignModel(dicts: readonly TorchDict[]): string {
  const names = dicts.flatMap((dict) => dict.names);
  if (names.length === 0)
    return "it has no tensors; expected a state dict of the Hierarchical Reasoning Model";
  const family = FAMILIES.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1];
  const kinds = new Set(names.map((name) => name.slice(0, 200).replace(/\d+/g, "N")));
  const others = names.some((name) => officialName(name))
    ? `it has no tensor ${SIGN}, also not behind wrappers such as ${formatValue(OFFICIAL_PREFIX)}`
    : `its ${names.length} tensors are those of ${family ?? "another model"}`;
  return `${others}; they are named ${formatNames(kinds, 4)}; expected a state dict of the Hierarchical Reasoning Model`;
}

/** The tensors of a file under their own names, for conversion. */
export interface StoredWeights {
  /** Null if the file holds only a moving average. */
  readonly raw: NamedTensors | null;
  readonly average: NamedTensors | null;
  /** Keys and names of values that are not among these tensors. */
  readonly unused: readonly string[];
}

/** The state dict of a file, of this model or of another, and a moving average beside it. @throws FileFormatError */
export function storedWeights(bytes: Uint8Array): StoredWeights {
  const { dicts, keys } = tensorDicts(bytes);
  const groups = chooseGroups(groupsOf(dicts));
  const raw = groups.raw?.dict ?? dicts.find((dict) => !dict.average) ?? null;
  const average = groups.average;
  const averageDict = average?.dict ?? dicts.find((dict) => dict.average);
  const beside = averageDict === raw ? average && readNamed(average) : averageDict?.read();
  const used = [raw, averageDict].filter((dict) => dict !== null && dict !== undefined);
  const taken = new Set(used.flatMap(({ path, names }) => (path.length > 0 ? path.slice(0, 1) : names)));
  const within = used.flatMap(({ path, others }) => (path.length > 0 ? [...others.keys()] : []));
  return {
    raw: raw && raw.read(),
    average: beside ?? null,
    unused: [...keys.filter((key) => !taken.has(key)), ...within],
  };
}

const readNamed = ({ dict, names }: Group): NamedTensors => {
  const tensors = dict.read();
  return new Map([...names.values()].map((name) => [name, tensors.get(name)!]));
};
