/** Folders below `root` that hold a fixture, relative to it and sorted; none where `root` is absent. */
export function fixtureFolders(root: string): Promise<string[]>;
