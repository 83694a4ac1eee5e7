/** Compute pipelines by their WGSL text: as many as fit the budget, the least recently used are dropped first. */
export class PipelineCache {
  readonly #entries = new Map<string, Promise<GPUComputePipeline>>();

  /** @param most pipelines that are kept; programs keep theirs, in the cache or not */
  constructor(readonly most: number) {}

  /** The pipeline of this text, made by `create` if it is not there; one that fails is forgotten. */
  get(code: string, create: () => Promise<GPUComputePipeline>): Promise<GPUComputePipeline> {
    const entry = this.#entries.get(code) ?? this.#made(code, create);
    // A map lists its keys in the order of insertion: the first is the one that was not asked for longest.
    this.#entries.delete(code);
    this.#entries.set(code, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.most) break;
      this.#entries.delete(oldest);
    }
    return entry;
  }

  #made(code: string, create: () => Promise<GPUComputePipeline>): Promise<GPUComputePipeline> {
    const entry = create();
    entry.catch(() => {
      if (this.#entries.get(code) === entry) this.#entries.delete(code);
    });
    return entry;
  }

  clear(): void {
    this.#entries.clear();
  }
}
