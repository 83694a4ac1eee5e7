/** Tells any number of listeners of the loss of a GPUDevice. */

/** Listeners for the loss of each device. A promise cannot remove a listener, so that each device's promise has one subscriber. */
const lossListeners = new WeakMap<GPUDevice, Set<(info: GPUDeviceLostInfo) => void>>();

/** Calls `listener` when the device is lost. @returns a function that removes the listener */
export function onLoss(gpu: GPUDevice, listener: (info: GPUDeviceLostInfo) => void): () => void {
  let listeners = lossListeners.get(gpu);
  if (!listeners) {
    const added = (listeners = new Set());
    lossListeners.set(gpu, added);
    void gpu.lost.then((info) => {
      // A later listener subscribes again.
      lossListeners.delete(gpu);
      for (const tell of added) tell(info);
    });
  }
  const all = listeners.add(listener);
  return () => all.delete(listener);
}
