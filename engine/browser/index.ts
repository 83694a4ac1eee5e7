/** Measured choices of kernels between visits of a page: in IndexedDB, by device. For windows and workers. */
import type { KernelChoices } from "../../kernels/capabilities.js";
import { EngineError } from "../errors.js";

/** The browser does not store the choices, as in private windows and on full disks. */
export class StoreError extends EngineError {
  override readonly name = "StoreError";
  constructor(cause: unknown) {
    super(
      "choices",
      `IndexedDB did not store the measured choices of kernels: ${String(cause)}. You can go on; they are measured again next time.`,
      { cause },
    );
  }
}

const DATABASE = "hrm-webgpu";
const STORE = "kernel-choices";

const result = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error!);
  });

/** Runs `body` on the store. @throws StoreError */
async function withStore<T>(
  mode: IDBTransactionMode,
  body: (store: IDBObjectStore) => Promise<T>,
): Promise<T> {
  let database: IDBDatabase | undefined;
  try {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    database = await result(opening);
    const transaction = database.transaction(STORE, mode);
    const ended = new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error!);
    });
    const [value] = await Promise.all([body(transaction.objectStore(STORE)), ended]);
    return value;
  } catch (cause) {
    throw new StoreError(cause);
  } finally {
    database?.close();
  }
}

/**
 * The choices kept under a key (`choicesKey` of `hrm-webgpu/engine/autotune`); empty if there are none.
 * @throws StoreError
 */
export async function readChoices(key: string): Promise<KernelChoices> {
  return withStore("readonly", async (store) => kept(await result(store.get(key))));
}

/** Adds choices to those stored under a key. @throws StoreError */
export async function writeChoices(key: string, choices: KernelChoices): Promise<void> {
  await withStore("readwrite", async (store) => {
    await result(store.put({ ...kept(await result(store.get(key))), ...choices }, key));
  });
}

/** The choices in a stored entry. Malformed entries are overwritten. */
function kept(value: unknown): KernelChoices {
  const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return Object.fromEntries(entries.filter((e): e is [string, string] => typeof e[1] === "string"));
}
