/** Whole training steps: of a plain block stack, which peers can run too, and of HRM. */
import type { Device, Program } from "../../../engine/index.js";
import { derive, modelConfig, type HrmConfig, type TrainConfig } from "../../../hrm/index.js";
import { findPreset, type Preset } from "../../../hrm/training/presets.js";
import type { Symmetry } from "../../../hrm/puzzles/tasks/symmetry.js";
import {
  blockStackData,
  blockStackFlops,
  checkBlockStack,
  createBlockStack,
  STACK_TOLERANCE,
  stepTolerance,
  type BlockStack,
} from "../block_stack.js";
import { checkHrmStep, createHrmStep, HRM_TOLERANCE, hrmFlops } from "../hrm_step.js";
import { MODEL_SHAPES } from "./shapes.js";

/** A step ready to be checked and timed. */
export interface PreparedStep {
  readonly program: Program;
  /** @returns the largest relative error. @throws WrongResultError */
  check(): Promise<number>;
  destroy(): void;
}

export interface StepCase {
  readonly kernel: "block_stack_step" | "training_step";
  readonly shape: string;
  readonly quick: boolean;
  readonly flops: number;
  /** Tolerance on a device that multiplies in f32. */
  readonly tolerance: number;
  /** Numbers compared with float64. */
  readonly compared: number;
  create(device: Device, seed: number): Promise<PreparedStep>;
}

/** The stacks that peers are asked for. */
export const BLOCK_STACKS: readonly BlockStack[] = MODEL_SHAPES.filter(({ name }) =>
  ["tiny64", "small", "official/32"].includes(name),
).map((shape) => ({ ...shape, layers: 2 }));

export const blockStackShape = ({ name, width, layers, length, batch }: BlockStack): string =>
  `${name} D${width} L${layers} S${length} B${batch}`;

/** The training step of a stack. */
export function blockStackCase(stack: BlockStack): StepCase {
  return {
    kernel: "block_stack_step",
    shape: blockStackShape(stack),
    quick: stack.quick,
    flops: blockStackFlops(stack),
    tolerance: STACK_TOLERANCE,
    compared: 2,
    async create(device, seed) {
      const data = blockStackData(stack, seed);
      const step = await createBlockStack(device, stack, data);
      return {
        program: step.program,
        check: () => checkBlockStack(stack, data, step, stepTolerance(device, STACK_TOLERANCE)),
        destroy: () => step.destroy(),
      };
    },
  };
}

/** A training step of HRM, with its number of different puzzles. */
export interface HrmStep {
  readonly shape: string;
  readonly config: HrmConfig;
  /** The preset that the step comes from, with its optimizer; null for a shape of the benchmark. */
  readonly preset: Preset | null;
  readonly puzzles: number;
  readonly quick: boolean;
}

function hrmStep(
  name: string,
  config: HrmConfig,
  puzzles: number,
  quick: boolean,
  preset: Preset | null = null,
): HrmStep {
  const { hidden_size: D, batch_size: B } = config;
  return { shape: `${name} D${D} S${derive(config).totalLength} B${B}`, config, preset, puzzles, quick };
}

/** The step of a preset as it is now. */
function presetStep(name: string, puzzles: number, quick: boolean): HrmStep {
  const preset = findPreset(name)!;
  return hrmStep(name, preset.model, puzzles, quick, preset);
}

function hrmCase({ shape, config, preset, puzzles, quick }: HrmStep): StepCase {
  return {
    kernel: "training_step",
    shape,
    quick,
    flops: hrmFlops(config),
    tolerance: HRM_TOLERANCE,
    compared: 1,
    async create(device, seed) {
      const recipe: { train?: TrainConfig; symmetry?: Symmetry | null } = preset
        ? { train: preset.train, symmetry: preset.task.symmetry }
        : {};
      const { trainer, state } = await createHrmStep(device, config, { puzzles, seed, ...recipe });
      return {
        program: trainer.program,
        async check() {
          return (await checkHrmStep(trainer, state, config, stepTolerance(device, HRM_TOLERANCE))).error;
        },
        destroy: () => trainer.destroy(),
      };
    },
  };
}

const small = {
  batch_size: 32,
  seq_len: 81,
  vocab_size: 11,
  H_cycles: 2,
  L_cycles: 2,
  H_layers: 2,
  L_layers: 2,
  num_heads: 4,
  hidden_size: 128,
} as const;
const official = { puzzle_emb_ndim: 512, num_puzzle_identifiers: 1 } as const;

/** The presets of the README's commands, and larger shapes. */
export const HRM_STEPS: readonly HrmStep[] = [
  presetStep("sudoku4", 16, true),
  presetStep("sudoku4-official", 16, true),
  presetStep("maze7", 4, false),
  presetStep("sudoku9-easy", 4, false),
  hrmStep("small", modelConfig(small), 2, true),
  hrmStep("official/8", modelConfig({ ...official, batch_size: 8 }), 1, false),
  hrmStep("official/32", modelConfig({ ...official, batch_size: 32 }), 1, false),
  hrmStep("official", modelConfig(official), 1, true),
];

/** Every training step. */
export const trainingSteps: readonly StepCase[] = [
  ...BLOCK_STACKS.map(blockStackCase),
  ...HRM_STEPS.map(hrmCase),
];
