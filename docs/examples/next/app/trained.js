"use client";
// Rendered on the server first, too: the import must not need a browser. The GPU is used in the effect alone.
import { useEffect, useState } from "react";
import { compile, f32, mean, openDevice, square } from "hrm-webgpu/engine";

export function Trained() {
  const [text, setText] = useState("training");
  useEffect(() => {
    const abort = new AbortController();
    run(abort.signal).then(setText, (error) => abort.signal.aborted || setText(`failed: ${error}`));
    return () => abort.abort();
  }, []);
  return <p id="result">{text}</p>;
}

async function run(signal) {
  const device = await openDevice();
  try {
    const program = await compile(device, { x: f32(4) }, ({ x }) => ({ loss: mean(square(x)) }), { signal });
    const { loss } = await program.call({ x: Float32Array.of(0.5, 0.5, 0.5, 0.5) }, { signal });
    return `loss ${loss[0].toFixed(4)}`;
  } finally {
    device.destroy();
  }
}
