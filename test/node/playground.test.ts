/** The playground's parts that need no browser: its address, and the help where WebGPU is missing. */
import { expect } from "chai";
import {
  configuredPreset,
  formatPlace,
  presetRun,
  readPlace,
  type RunConfig,
} from "../../docs/playground/run_config.js";
import { identify, webgpuHelp } from "../../docs/playground/views/webgpu_help.js";
import { ConfigError, inferenceSegments } from "../../hrm/model/config.js";
import { countParameters } from "../../hrm/model/parameters.js";

describe("playground address", () => {
  const usual = presetRun("sudoku4");

  it("stands for the preset's run if it says nothing", () => {
    expect(readPlace("")).to.deep.equal({ run: usual, puzzle: null, problems: [] });
    expect(readPlace("#preset=sudoku4-official").run).to.deep.equal(presetRun("sudoku4-official"));
  });

  it("reads back what it wrote", () => {
    const runs: RunConfig[] = [
      usual,
      { ...usual, seed: 4294967295 },
      { ...usual, seed: 7, lr: 1e-7, batch: 3, steps: 17, target: 0.123 },
      { ...presetRun("sudoku4-official"), lr: 0.5, products: "measured" },
      { ...usual, products: "mixed", variant: "flat" },
      { ...presetRun("maze7"), variant: "one-segment" },
    ];
    for (const run of runs)
      for (const puzzle of [null, 1, 1024])
        expect(readPlace(formatPlace({ run, puzzle }))).to.deep.equal({ run, puzzle, problems: [] });
  });

  it("names every invalid value, and uses the preset's instead", () => {
    const rows = [
      ["seed=-1", "seed=-1"],
      ["seed=1.5", "seed=1.5"],
      ["seed=", "seed="],
      ["seed=4294967296", "seed=4294967296"],
      ["lr=0", "lr=0"],
      ["lr=fast", "lr=fast"],
      ["lr=Infinity", "lr=Infinity"],
      ["batch=0", "batch=0"],
      ["steps=1e9", "steps=1e9"],
      ["target=97", "target=97"],
      ["puzzle=x", "puzzle=x"],
      ["puzzle=0", "puzzle=0"],
      ["variant=tall", "variant=tall"],
      ["preset=chess", "preset=chess"],
      ["products=f64", "products=f64"],
      ["__proto__=1", "__proto__"],
      ["toString=1", "toString"],
      ["sed=3", "sed"],
    ] as const;
    for (const [hash, name] of rows) {
      const { run, puzzle, problems } = readPlace(`#${hash}`);
      expect({ run, puzzle }, hash).to.deep.equal({ run: usual, puzzle: null });
      expect(problems, hash).to.have.length(1);
      expect(problems[0], hash).to.contain(name).and.contain("expected");
    }
  });

  it("configures the preset, and refuses invalid configurations", () => {
    const { model, train, stopAt } = configuredPreset({
      ...usual,
      lr: 0.001,
      batch: 8,
      steps: 40,
      target: 0.5,
    });
    expect([model.batch_size, train.lr, train.total_steps, stopAt]).to.deep.equal([8, 0.001, 40, 0.5]);
    expect(() => configuredPreset({ ...usual, batch: 0 })).to.throw(ConfigError);
  });

  it("has baselines to test the claim with: one segment, and one network of the same size without hierarchy", () => {
    const whole = configuredPreset(usual).model;
    const short = configuredPreset({ ...usual, variant: "one-segment" }).model;
    expect([short.halt_max_steps, inferenceSegments(short)]).to.deep.equal([1, 1]);
    const flat = configuredPreset({ ...usual, variant: "flat" }).model;
    expect(flat.arch).to.equal("trm_singlez");
    expect(countParameters(flat)).to.equal(countParameters(whole));
  });
});

describe("help without WebGPU", () => {
  const agents = {
    chromeLinux:
      "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    edge: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/112.0.0.0 Safari/537.36 Edg/112.0.0.0",
    android:
      "Mozilla/5.0 (Linux; Android 11; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Mobile Safari/537.36",
    firefoxMac: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0",
    safari:
      "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15",
    chromeIphone:
      "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.0.0 Mobile/15E148 Safari/604.1",
    chromebook:
      "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/110.0.0.0 Safari/537.36",
    other: "curl/8.0",
  };

  it("knows browser, version and system", () => {
    const rows: [userAgent: string, maxTouchPoints: number, expected: readonly unknown[]][] = [
      [agents.chromeLinux, 0, ["Chrome", 140, "Linux"]],
      [agents.edge, 0, ["Edge", 112, "Windows"]],
      [agents.android, 5, ["Chrome", 119, "Android"]],
      [agents.firefoxMac, 0, ["Firefox", 140, "macOS"]],
      [agents.safari, 0, ["Safari", 18, "macOS"]],
      [agents.safari, 5, ["Safari", 18, "iOS"]],
      [agents.chromeIphone, 5, ["Chrome", 126, "iOS"]],
      [agents.chromebook, 0, ["Chrome", 110, "ChromeOS"]],
      [agents.other, 0, ["this browser", NaN, "this system"]],
    ];
    for (const [userAgent, maxTouchPoints, expected] of rows) {
      const { browser, version, system } = identify({ userAgent, maxTouchPoints });
      expect([browser, version, system], userAgent).to.deep.equal(expected);
    }
  });

  const help = (userAgent: string, change: object = {}): string => {
    const surroundings = { userAgent, maxTouchPoints: 0, secureContext: true, webgpu: false, lost: false };
    const { title, steps } = webgpuHelp({ ...surroundings, ...change });
    return [title, ...steps].join("\n");
  };

  it("speaks of this browser and no other", () => {
    expect(help(agents.chromeLinux)).to.contain("No WebGPU in Chrome 140 on Linux");
    expect(help(agents.chromeLinux)).to.contain("--enable-unsafe-webgpu").and.not.contain("Safari");
    expect(help(agents.edge)).to.contain("edge://settings/system").and.not.contain("chrome://");
    expect(help(agents.android)).to.contain("121").and.not.contain("--enable");
    expect(help(agents.firefoxMac)).to.contain("147").and.contain("dom.webgpu.enabled");
    expect(help(agents.safari)).to.contain("Safari 26");
    expect(help(agents.chromeIphone, { maxTouchPoints: 5 })).to.contain("iOS or iPadOS 26");
  });

  it("tells a missing adapter, a lost GPU and an insecure address from a missing WebGPU", () => {
    expect(help(agents.edge, { webgpu: true }))
      .to.contain("found no GPU")
      .and.not.contain("113");
    expect(help(agents.edge, { webgpu: true, lost: true })).to.contain("restart Edge");
    expect(help(agents.edge, { secureContext: false }))
      .to.contain("https")
      .and.not.contain("113");
  });
});
