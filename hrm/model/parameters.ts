/** The weights, under the names of the official state dict, so that an official checkpoint loads by name. */
import {
  full,
  hostTensor,
  truncatedNormal,
  variable,
  zeros,
  type Allocator,
  type HostTensor,
  type Shape,
  type TensorSpec,
  type Variable,
} from "../../engine/index.js";
import { EngineError } from "../../engine/errors.js";
import { owning } from "../../engine/ownership.js";
import { packedVariables } from "../../engine/optimizers.js";
import { derive, hasOneLatent, type HrmConfig } from "./config.js";

/** The initial value of a parameter, and the optimizer that updates it. */
export interface ParameterSpec {
  /** Its official name. */
  readonly name: string;
  /** Its official shape. */
  readonly shape: Shape;
  /** `adam`: trained by Adam-atan2; `puzzle`: rows trained by sign-SGD; `fixed`: never trained. */
  readonly update: "adam" | "puzzle" | "fixed";
  /** Standard deviation of the truncated normal that initialises the parameter, or its constant initial value. */
  readonly init: { readonly std: number } | { readonly value: number };
}

export const TOKEN_EMBEDDING = "inner.embed_tokens.embedding_weight";
export const POSITION_EMBEDDING = "inner.embed_pos.embedding_weight";
export const PUZZLE_EMBEDDING = "inner.puzzle_emb.weights";

/** Every parameter of a configuration, in a fixed order. */
export function parameterSpecs(config: HrmConfig): ParameterSpec[] {
  const { hidden_size: D, vocab_size: V } = config;
  const { innerSize: I, sequenceInnerSize: It, totalLength: S } = derive(config);
  const weight = (name: string, shape: Shape, std: number): ParameterSpec => ({
    name,
    shape,
    update: "adam",
    init: { std },
  });
  const mixer = (prefix: string): ParameterSpec[] =>
    config.mlp_t
      ? [
          weight(`${prefix}.mlp_t.gate_up_proj.weight`, [2 * It, S], S ** -0.5),
          weight(`${prefix}.mlp_t.down_proj.weight`, [S, It], It ** -0.5),
        ]
      : [
          weight(`${prefix}.self_attn.qkv_proj.weight`, [3 * D, D], D ** -0.5),
          weight(`${prefix}.self_attn.o_proj.weight`, [D, D], D ** -0.5),
        ];
  const layer = (prefix: string): ParameterSpec[] => [
    ...mixer(prefix),
    weight(`${prefix}.mlp.gate_up_proj.weight`, [2 * I, D], D ** -0.5),
    weight(`${prefix}.mlp.down_proj.weight`, [D, I], I ** -0.5),
  ];
  const level = (name: string, layers: number): ParameterSpec[] =>
    Array.from({ length: layers }, (_, i) => layer(`inner.${name}.layers.${i}`)).flat();
  return [
    weight(TOKEN_EMBEDDING, [V, D], D ** -0.5),
    ...(config.pos_encodings === "learned"
      ? [weight(POSITION_EMBEDDING, [S, D], config.pos_init_scale * D ** -0.5)]
      : []),
    ...(config.puzzle_emb_ndim > 0
      ? [
          {
            name: PUZZLE_EMBEDDING,
            shape: [config.num_puzzle_identifiers, config.puzzle_emb_ndim],
            update: "puzzle",
            init: { value: 0 },
          } as const,
        ]
      : []),
    ...(config.arch === "hrm" ? level("H_level", config.H_layers) : []),
    ...level("L_level", config.L_layers),
    weight("inner.lm_head.weight", [V, D], D ** -0.5),
    { name: "inner.q_head.weight", shape: [2, D], update: "adam", init: { value: 0 } },
    { name: "inner.q_head.bias", shape: [2], update: "adam", init: { value: -5 } },
    ...(hasOneLatent(config)
      ? []
      : [{ name: "inner.H_init", shape: [D], update: "fixed", init: { std: 1 } } as const]),
    { name: "inner.L_init", shape: [D], update: "fixed", init: { std: 1 } },
  ];
}

/** Number of trained parameters, the puzzle table included. */
export function countParameters(config: HrmConfig): number {
  return parameterSpecs(config)
    .filter((p) => p.update !== "fixed")
    .reduce((sum, p) => sum + p.shape.reduce((a, b) => a * b, 1), 0);
}

/** Values by official name. */
export type StateDict = ReadonlyMap<string, HostTensor>;

/** Variables by official name. */
export type Weights = ReadonlyMap<string, Variable>;

/** The official initialisation, from a seed. */
export function initialState(config: HrmConfig, seed: number): StateDict {
  return new Map(
    parameterSpecs(config).map(({ name, shape, init }, stream) => [
      name,
      "std" in init
        ? truncatedNormal(shape, init.std, { seed, stream })
        : init.value === 0
          ? zeros(shape)
          : full(shape, init.value),
    ]),
  );
}

/** Counts the NaNs and infinities. */
export function nonFiniteNumbers(values: ArrayLike<number>): number {
  let count = 0;
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i]!)) count++;
  return count;
}

/** Uploads a state dict. @throws StateError naming the parameter that is missing, misshapen or not finite */
export function createWeights(
  device: Allocator,
  config: HrmConfig,
  state: ReadonlyMap<string, HostTensor | TensorSpec>,
): Weights {
  const specs = parameterSpecs(config);
  for (const { name, shape } of specs) {
    const value = state.get(name);
    if (!value || value.shape.join() !== shape.join()) {
      throw new StateError(
        name,
        value ? `shape [${value.shape.join(", ")}]` : "nothing",
        `shape [${shape.join(", ")}]; is this the configuration that the weights belong to?`,
      );
    }
    // The memory estimate passes specs without data, which stand for zeros.
    if (!("data" in value)) continue;
    const lost = nonFiniteNumbers(value.data);
    if (lost > 0)
      throw new StateError(
        name,
        `${lost} of ${value.data.length} numbers that are a NaN or an infinity`,
        "finite numbers alone: use weights from before training left them, or a smaller initial scale",
      );
  }
  const valueOf = ({ name }: ParameterSpec): HostTensor | TensorSpec => state.get(name)!;
  return owning(() => {
    const packed = createPacked(device, config, "weights", ({ name }) => name, valueOf);
    return new Map(specs.map((p) => [p.name, packed.get(p.name) ?? variable(device, valueOf(p), p.name)]));
  });
}

/** Makes a variable for each weight under Adam, packed in the order of the weights. The result is keyed by the weights' names. */
export function createPacked(
  device: Allocator,
  config: HrmConfig,
  packName: string,
  nameOf: (spec: ParameterSpec) => string,
  initial: (spec: ParameterSpec) => HostTensor | TensorSpec,
): Map<string, Variable> {
  const specs = parameterSpecs(config).filter((p) => p.update === "adam");
  const made = packedVariables(device, new Map(specs.map((p) => [nameOf(p), initial(p)])), packName);
  return new Map(specs.map(({ name }, i) => [name, made[i]!]));
}

/** Reads weights back to the host. */
export async function readWeights(weights: Weights): Promise<StateDict> {
  const entries = [...weights].map(async ([name, v]) => [name, hostTensor(await v.read(), v.shape)] as const);
  return new Map(await Promise.all(entries));
}

/** A state dict does not fit the configuration. Says which parameter, what was given and what was expected. */
export class StateError extends EngineError {
  override readonly name = "StateError";
  constructor(parameter: string, got: string, expected: string) {
    super("state", `State dict: ${parameter} has ${got}; expected ${expected}.`);
  }
}
