export interface PlantedFault {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  readonly test: string;
  readonly grep: string;
}

export declare const FAULTS: readonly PlantedFault[];
