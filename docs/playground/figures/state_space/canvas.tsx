/** The picture in three dimensions, and how it is turned: by mouse, by finger, by arrow keys. It never moves by itself. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Colour, Palette, Renderer, Scene, View } from "./renderer.js";

const START: View = { yaw: 0.6, pitch: 0.35, distance: 2.3 };
/** Radians of a key, and of a pixel that the pointer moves. */
const [BY_KEY, BY_PIXEL] = [0.12, 0.008];
const DISTANCES = [1.4, 8] as const;

/** The view after a turn; looking from straight above or below is as far as it goes. */
export function turned(view: View, yaw: number, pitch: number): View {
  const limit = Math.PI / 2 - 0.05;
  return { ...view, yaw: view.yaw + yaw, pitch: Math.max(-limit, Math.min(limit, view.pitch + pitch)) };
}

/** The view after a key; null for keys that do nothing here. */
export function viewAfterKey(view: View, key: string): View | null {
  const [near, far] = DISTANCES;
  const away = (factor: number): View => ({
    ...view,
    distance: Math.max(near, Math.min(far, view.distance * factor)),
  });
  switch (key) {
    case "ArrowLeft":
      return turned(view, -BY_KEY, 0);
    case "ArrowRight":
      return turned(view, BY_KEY, 0);
    case "ArrowUp":
      return turned(view, 0, BY_KEY);
    case "ArrowDown":
      return turned(view, 0, -BY_KEY);
    case "+":
      return away(1 / 1.2);
    case "-":
      return away(1.2);
    case "Home":
      return START;
    default:
      return null;
  }
}

/** A colour of the style sheet, `#rrggbb`, from 0 to 1. */
function colour(name: string): Colour {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const value = Number.parseInt(text.slice(1), 16);
  return [((value >> 16) & 255) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255];
}

const paletteOf = (line: string): Palette => ({
  line: colour(line),
  right: colour("--good"),
  wrong: colour("--broken"),
  background: colour("--panel"),
});

export function StateCanvas({ scene, line, label }: { scene: Scene; line: string; label: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const renderer = useRef<Renderer | null>(null);
  const view = useRef(START);
  const latest = useRef({ scene, line });
  latest.current = { scene, line };
  const [problem, setProblem] = useState<string | null>(null);

  /** Whether a picture is under way, and whether it is out of date already. */
  const drawing = useRef<"no" | "yes" | "again">("no");

  const draw = (): void => {
    if (drawing.current !== "no") {
      drawing.current = "again";
      return;
    }
    drawing.current = "yes";
    void drawNow()
      .catch(() => setProblem("The GPU cannot draw this picture now."))
      .finally(() => {
        const again = drawing.current === "again";
        drawing.current = "no";
        if (again) draw();
      });
  };
  const drawNow = async (): Promise<void> => {
    const element = canvas.current;
    if (!element || !renderer.current) return;
    const scale = devicePixelRatio;
    const width = Math.round(element.clientWidth * scale);
    const height = Math.round(element.clientHeight * scale);
    if (!width || !height) return;
    const from = view.current;
    const palette = paletteOf(latest.current.line);
    const picture = await renderer.current.draw({ width, height, scale }, from, palette);
    if (element.width !== width || element.height !== height) {
      element.width = width;
      element.height = height;
    }
    element.getContext("2d")!.putImageData(picture, 0, 0);
    // For those who look whether it was drawn, how large, in which colours, and from where.
    element.dataset["drawn"] = `${width} ${palette.background.join(" ")}`;
    element.dataset["yaw"] = from.yaw.toFixed(3);
  };

  useEffect(() => {
    let gone = false;
    void import("./renderer.js")
      .then(({ createRenderer }) => createRenderer())
      .catch(() => null)
      .then((made) => {
        if (gone) return made?.destroy();
        if (!made) return setProblem("The GPU cannot draw this picture now.");
        renderer.current = made;
        made.show(latest.current.scene);
        draw();
      });
    const resized = new ResizeObserver(draw);
    resized.observe(canvas.current!);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    return () => {
      gone = true;
      resized.disconnect();
      dark.removeEventListener("change", draw);
      renderer.current?.destroy();
      renderer.current = null;
    };
  }, []);
  useEffect(() => {
    renderer.current?.show(scene);
    draw();
  }, [scene, line]);

  const turn = (event: PointerEvent): void => {
    if (event.buttons !== 1) return;
    view.current = turned(view.current, -event.movementX * BY_PIXEL, event.movementY * BY_PIXEL);
    draw();
  };
  return (
    <>
      <div
        class="state-canvas"
        id="state-canvas"
        role="application"
        aria-label={`${label} Arrow keys turn it, plus and minus bring it nearer and farther, Home turns it back.`}
        tabIndex={0}
        onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
        onPointerMove={turn}
        onKeyDown={(event) => {
          const next = viewAfterKey(view.current, event.key);
          if (!next) return;
          event.preventDefault();
          view.current = next;
          draw();
        }}
      >
        <canvas ref={canvas} aria-hidden="true" />
      </div>
      {problem && <p class="soft">{problem}</p>}
    </>
  );
}
