/** A bounded cache of compute pipelines by their WGSL text. It drops the least recently used first. */
export class PipelineCache {
  readonly #entries = new Map<string, Promise<GPUComputePipeline>>();

  /** @param most the largest number of pipelines in the cache; a program keeps its own pipelines in any case */
  constructor(readonly most: number) {}

  /** True if the pipeline of this text is cached or under way. */
  has(code: string): boolean {
    return this.#entries.has(code);
  }

  /** The pipeline of this text, made by `create` if it is not cached. A pipeline that fails to compile is not cached. */
  get(code: string, create: () => Promise<GPUComputePipeline>): Promise<GPUComputePipeline> {
    const entry = this.#entries.get(code) ?? this.#made(code, create);
    // A map lists its keys in the order of insertion, so that the first key is the least recently used.
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
