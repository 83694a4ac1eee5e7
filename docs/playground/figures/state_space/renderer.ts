/**
 * Draws trajectories in three dimensions with WebGPU; loaded by those who look at them. The picture is read back and put
 * on a plain canvas: it is small and drawn only when something changes, and browsers that draw their pages without a GPU
 * cannot show a canvas of WebGPU.
 */
import { mat4 } from "wgpu-matrix";

/** The scene to draw: lines through points of several puzzles, and a mark at the end of each. */
export interface Scene {
  /** [updates, puzzles, 3] */
  readonly points: Float32Array;
  readonly updates: number;
  readonly puzzles: number;
  /** 1 if the puzzle's answer is right [puzzles]. */
  readonly right: Uint8Array;
}

/** From where it is seen: angles in radians, and the distance in radii of the scene. */
export interface View {
  readonly yaw: number;
  readonly pitch: number;
  readonly distance: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
  readonly scale: number;
}

export type Colour = readonly [red: number, green: number, blue: number];

export interface Palette {
  readonly line: Colour;
  readonly right: Colour;
  readonly wrong: Colour;
  readonly background: Colour;
}

export interface Renderer {
  /** Takes another scene. */
  show(scene: Scene): void;
  /** The picture [height, width, RGBA]. `scale` is pixels of the picture for one of the page. */
  draw(size: Size, view: View, palette: Palette): Promise<ImageData>;
  destroy(): void;
}

const SHADER = `
struct Frame {
  camera: mat4x4f,
  line: vec4f,
  right: vec4f,
  wrong: vec4f,
  // Width and height in pixels, and half the side of a mark.
  size: vec4f,
}
@group(0) @binding(0) var<uniform> frame: Frame;

struct LineOut { @builtin(position) at: vec4f, @location(0) age: f32 }
@vertex fn line_vertex(@location(0) point: vec4f) -> LineOut {
  return LineOut(frame.camera * vec4f(point.xyz, 1), point.w);
}
@fragment fn line_fragment(v: LineOut) -> @location(0) vec4f {
  let alpha = mix(0.10, 0.85, v.age);
  return vec4f(frame.line.rgb * alpha, alpha);
}

struct MarkOut { @builtin(position) at: vec4f, @location(0) corner: vec2f, @location(1) right: f32 }
@vertex fn mark_vertex(@builtin(vertex_index) i: u32, @location(0) point: vec4f) -> MarkOut {
  let corner = array(vec2f(-1, -1), vec2f(1, -1), vec2f(-1, 1), vec2f(-1, 1), vec2f(1, -1), vec2f(1, 1))[i];
  let at = frame.camera * vec4f(point.xyz, 1);
  return MarkOut(at + vec4f(corner * frame.size.z / frame.size.xy * 2 * at.w, 0, 0), corner, point.w);
}
@fragment fn mark_fragment(v: MarkOut) -> @location(0) vec4f {
  let inside = length(v.corner);
  let cross = min(abs(v.corner.x - v.corner.y), abs(v.corner.x + v.corner.y));
  // A disc for right answers, a cross for wrong ones.
  if (v.right > 0.5) {
    if (inside > 0.8) { discard; }
    return vec4f(frame.right.rgb, 1);
  }
  if (cross > 0.45) { discard; }
  return vec4f(frame.wrong.rgb, 1);
}
`;

const FORMAT = "rgba8unorm";
/** A row of a copied texture begins at a multiple of these bytes. */
const ROW = 256;
/** Floats of the frame's uniforms. */
const FRAME = 32;
const BLEND: GPUBlendState = {
  color: { srcFactor: "one", dstFactor: "one-minus-src-alpha" },
  alpha: { srcFactor: "one", dstFactor: "one-minus-src-alpha" },
};
/** Half the side of a mark in pixels of the screen. */
const MARK = 5;

/** The trajectories as pieces of line [x, y, z, age from 0 to 1], and their ends [x, y, z, right], within a unit ball. */
export function verticesOf({ points, updates, puzzles, right }: Scene): {
  lines: Float32Array<ArrayBuffer>;
  marks: Float32Array<ArrayBuffer>;
} {
  let radius = 0;
  for (let i = 0; i < points.length; i += 3)
    radius = Math.max(radius, Math.hypot(points[i]!, points[i + 1]!, points[i + 2]!));
  const at = (update: number, puzzle: number): [number, number, number] => {
    const from = 3 * (update * puzzles + puzzle);
    const scale = 1 / (radius || 1);
    return [points[from]! * scale, points[from + 1]! * scale, points[from + 2]! * scale];
  };
  const lines = new Float32Array(8 * puzzles * (updates - 1));
  const marks = new Float32Array(4 * puzzles);
  let to = 0;
  for (let puzzle = 0; puzzle < puzzles; puzzle++) {
    for (let update = 1; update < updates; update++) {
      lines.set([...at(update - 1, puzzle), (update - 1) / (updates - 1)], to);
      lines.set([...at(update, puzzle), update / (updates - 1)], to + 4);
      to += 8;
    }
    marks.set([...at(updates - 1, puzzle), right[puzzle]!], 4 * puzzle);
  }
  return { lines, marks };
}

/** Opens a GPU for the picture; null if there is none. */
export async function createRenderer(): Promise<Renderer | null> {
  const adapter = await navigator.gpu?.requestAdapter();
  const device = await adapter?.requestDevice();
  if (!device) return null;
  const module = device.createShaderModule({ code: SHADER });
  const uniforms = device.createBuffer({
    size: 4 * FRAME,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  const layout = device.createBindGroupLayout({
    entries: [{ binding: 0, visibility: GPUShaderStage.VERTEX | GPUShaderStage.FRAGMENT, buffer: {} }],
  });
  const group = device.createBindGroup({
    layout,
    entries: [{ binding: 0, resource: { buffer: uniforms } }],
  });
  const pipeline = (
    name: "line" | "mark",
    topology: GPUPrimitiveTopology,
    stepMode: GPUVertexStepMode,
  ): GPURenderPipeline =>
    device.createRenderPipeline({
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      vertex: {
        ...{ module, entryPoint: `${name}_vertex` },
        buffers: [
          { arrayStride: 16, stepMode, attributes: [{ shaderLocation: 0, offset: 0, format: "float32x4" }] },
        ],
      },
      fragment: { module, entryPoint: `${name}_fragment`, targets: [{ format: FORMAT, blend: BLEND }] },
      primitive: { topology },
    });
  const lines = pipeline("line", "line-list", "vertex");
  const marks = pipeline("mark", "triangle-list", "instance");
  let buffers: { lines: GPUBuffer; marks: GPUBuffer; vertices: number; ends: number } | null = null;
  const release = (): void => {
    buffers?.lines.destroy();
    buffers?.marks.destroy();
    buffers = null;
  };
  const upload = (data: Float32Array<ArrayBuffer>): GPUBuffer => {
    const buffer = device.createBuffer({
      size: data.byteLength,
      usage: GPUBufferUsage.VERTEX | GPUBufferUsage.COPY_DST,
    });
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  };
  return {
    show(scene) {
      release();
      const vertices = verticesOf(scene);
      buffers = {
        ...{ lines: upload(vertices.lines), marks: upload(vertices.marks) },
        ...{ vertices: vertices.lines.length / 4, ends: scene.puzzles },
      };
    },
    async draw({ width, height, scale }, view, { line, right, wrong, background }) {
      const frame = new Float32Array(FRAME);
      frame.set(cameraOf(view, width / height));
      frame.set([...line, 1, ...right, 1, ...wrong, 1, width, height, MARK * scale, 0], 16);
      device.queue.writeBuffer(uniforms, 0, frame);
      const texture = device.createTexture({
        ...{ size: [width, height], format: FORMAT },
        usage: GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.COPY_SRC,
      });
      const bytesPerRow = ROW * Math.ceil((4 * width) / ROW);
      const pixels = device.createBuffer({
        size: bytesPerRow * height,
        usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
      });
      const encoder = device.createCommandEncoder();
      const [r, g, b] = background;
      const pass = encoder.beginRenderPass({
        colorAttachments: [
          {
            view: texture.createView(),
            clearValue: { r, g, b, a: 1 },
            ...{ loadOp: "clear", storeOp: "store" },
          },
        ],
      });
      pass.setBindGroup(0, group);
      if (buffers) {
        pass.setPipeline(lines);
        pass.setVertexBuffer(0, buffers.lines);
        pass.draw(buffers.vertices);
        pass.setPipeline(marks);
        pass.setVertexBuffer(0, buffers.marks);
        pass.draw(6, buffers.ends);
      }
      pass.end();
      encoder.copyTextureToBuffer({ texture }, { buffer: pixels, bytesPerRow }, [width, height]);
      device.queue.submit([encoder.finish()]);
      try {
        await pixels.mapAsync(GPUMapMode.READ);
        const rows = new Uint8ClampedArray(pixels.getMappedRange());
        const image = new ImageData(width, height);
        for (let y = 0; y < height; y++)
          image.data.set(rows.subarray(y * bytesPerRow, y * bytesPerRow + 4 * width), 4 * width * y);
        return image;
      } finally {
        texture.destroy();
        pixels.destroy();
      }
    },
    destroy() {
      release();
      device.destroy();
    },
  };
}

/** The camera's matrix: it looks at the middle of the scene. */
export function cameraOf({ yaw, pitch, distance }: View, aspect: number): Float32Array {
  const eye = [
    distance * Math.cos(pitch) * Math.sin(yaw),
    distance * Math.sin(pitch),
    distance * Math.cos(pitch) * Math.cos(yaw),
  ];
  const projection = mat4.perspective(Math.PI / 4, aspect, 0.05, 50);
  return mat4.multiply<Float32Array>(projection, mat4.lookAt(eye, [0, 0, 0], [0, 1, 0]));
}
