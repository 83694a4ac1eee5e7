/**
 * What to do where WebGPU is missing, in the visitor's own browser. Versions are those of the GPU for the Web
 * group's implementation status (github.com/gpuweb/gpuweb/wiki/Implementation-Status).
 */

/** What the page can know of where it runs. */
export interface Surroundings {
  readonly userAgent: string;
  /** Fingers at once; tells an iPad, which calls itself a Mac, from one. */
  readonly maxTouchPoints: number;
  readonly secureContext: boolean;
  /** Whether `navigator.gpu` is there, so that only an adapter is missing. */
  readonly webgpu: boolean;
  /** Whether a device was lost before: browsers then keep the GPU back for a while. */
  readonly lost: boolean;
}

/** A heading, and what to try, in order; what is to be typed stands in `backticks`. */
export interface Help {
  readonly title: string;
  readonly steps: readonly string[];
}

type Browser = "Chrome" | "Edge" | "Firefox" | "Safari" | "this browser";
type System = "Windows" | "macOS" | "Linux" | "Android" | "iOS" | "ChromeOS" | "this system";

/** Browser with its major version, and system, from the user agent. */
export function identify({ userAgent, maxTouchPoints }: Pick<Surroundings, "userAgent" | "maxTouchPoints">): {
  browser: Browser;
  version: number;
  system: System;
} {
  const system: System = /iPhone|iPad|iPod/.test(userAgent)
    ? "iOS"
    : /Macintosh/.test(userAgent)
      ? maxTouchPoints > 1
        ? "iOS"
        : "macOS"
      : /Android/.test(userAgent)
        ? "Android"
        : /CrOS/.test(userAgent)
          ? "ChromeOS"
          : /Windows/.test(userAgent)
            ? "Windows"
            : /Linux|X11/.test(userAgent)
              ? "Linux"
              : "this system";
  const patterns: readonly (readonly [Browser, RegExp])[] = [
    ["Edge", /Edg(?:A|iOS)?\/(\d+)/],
    ["Firefox", /(?:Firefox|FxiOS)\/(\d+)/],
    ["Chrome", /(?:Chrome|HeadlessChrome|Chromium|CriOS)\/(\d+)/],
    ["Safari", /Version\/(\d+).*Safari/],
  ];
  for (const [browser, pattern] of patterns) {
    const match = pattern.exec(userAgent);
    if (match) return { browser, version: Number(match[1]), system };
  }
  return { browser: "this browser", version: NaN, system };
}

/** What to do, for people. */
export function webgpuHelp(surroundings: Surroundings): Help {
  const { browser, version, system } = identify(surroundings);
  const here = `${browser}${Number.isNaN(version) ? "" : ` ${version}`} on ${system}`;
  if (!surroundings.secureContext) {
    return {
      title: "This page needs a secure address",
      steps: [
        "Browsers offer WebGPU on https:// pages and on localhost only. Open the page at the address that `npm start` printed, or serve it over https.",
      ],
    };
  }
  if (surroundings.lost) {
    return {
      title: `${browser} keeps the GPU back after its failure`,
      steps: [
        "Close the pages that use the GPU, wait a few minutes, and reload this page.",
        `If that does not help, restart ${browser}.`,
      ],
    };
  }
  const title = surroundings.webgpu ? `${here} found no GPU to use` : `No WebGPU in ${here}`;
  return { title, steps: [...stepsFor(browser, system, surroundings.webgpu), ANYWHERE] };
}

const ANYWHERE =
  "Without a browser: `npm run train` does the same run in a terminal, on the GPU or on the software adapter that npm installs.";

function stepsFor(browser: Browser, system: System, webgpu: boolean): string[] {
  if (system === "iOS") {
    return [
      "Update to iOS or iPadOS 26 or newer; every browser there gets WebGPU from the system.",
      "On iOS 18: Settings, Apps, Safari, Advanced, Feature Flags, switch WebGPU on, and open this page in Safari.",
    ];
  }
  switch (browser) {
    case "Chrome":
    case "Edge":
      return chromium(browser, system, webgpu);
    case "Firefox":
      return firefox(system);
    case "Safari":
      return [
        "Update to Safari 26 or newer (it comes with macOS 26).",
        "On Safari 18: Settings, Advanced, Show features for web developers; then Feature Flags, switch WebGPU on, and restart Safari. Or use Chrome or Edge 113 or newer.",
      ];
    default:
      return ["Use Chrome or Edge 113 or newer, Safari 26 or newer, or on Windows Firefox 141 or newer."];
  }
}

function chromium(browser: "Chrome" | "Edge", system: System, webgpu: boolean): string[] {
  const [scheme, program] = browser === "Edge" ? ["edge", "microsoft-edge"] : ["chrome", "google-chrome"];
  const acceleration = `In \`${scheme}://settings/system\` switch on graphics (hardware) acceleration and restart ${browser}; \`${scheme}://gpu\` then says what WebGPU lacks.`;
  if (system === "Linux") {
    return [
      `Update ${browser}: version 144 or newer has WebGPU on Intel graphics of the 12th generation and newer, 147 or newer with NVIDIA's driver 535.183 or newer.`,
      `On other graphics start it as: \`${program} --enable-unsafe-webgpu --ozone-platform=x11 --use-angle=vulkan --enable-features=Vulkan,VulkanFromANGLE\``,
      `Without a GPU start it as: \`${program} --enable-unsafe-webgpu --enable-features=Vulkan --use-webgpu-adapter=swiftshader\``,
      acceleration,
    ];
  }
  if (system === "Android") {
    return [
      `Update ${browser} to version 121 or newer, on Android 12 or newer (Imagination graphics: version 139 on Android 16).`,
    ];
  }
  return [
    ...(webgpu ? [] : [`Update ${browser} to version 113 or newer.`]),
    acceleration,
    "Update the graphics driver.",
    ...(system === "Windows"
      ? [`On Windows for ARM switch on \`${scheme}://flags/#enable-unsafe-webgpu\` and restart.`]
      : []),
  ];
}

function firefox(system: System): string[] {
  const flag =
    "Or open `about:config`, set `dom.webgpu.enabled` to true, and restart Firefox; Firefox Nightly has it switched on.";
  switch (system) {
    case "Windows":
      return ["Update Firefox to version 141 or newer.", flag];
    case "macOS":
      return [
        "On Apple silicon update Firefox to version 147 or newer (145 with macOS 26); on Intel Macs use Chrome or Edge.",
        flag,
      ];
    case "Android":
      return ["Use Chrome 121 or newer on Android 12 or newer."];
    default:
      return ["Use Firefox Nightly, or Chrome or Edge.", flag];
  }
}
