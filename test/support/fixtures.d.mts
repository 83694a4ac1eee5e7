/** Names of all fixtures, sorted within their root. */
export function listFixtures(): Promise<string[]>;
/** A file of a fixture by its path below a root; null if no root has it. */
export function readFixture(path: string): Promise<Uint8Array | null>;
