/** The package's version, as package.json has it: recorded in checkpoints. */
export const VERSION = "0.1.0";
