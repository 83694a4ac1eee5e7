/** `hrm info`: lists the adapters of this machine. */
import { listAdapters } from "../../../engine/node/index.js";
import { parseArguments, type Command } from "../../terminal/arguments.js";
import { jsonOption } from "../options/common.js";
import { printJson, show } from "../output/console.js";

const options = { json: jsonOption } as const;
const command: Command<typeof options> = {
  name: "hrm info",
  summary: "Lists the WebGPU adapters found, the one that would be used first.",
  options,
};

/** Runs `hrm info`. Returns exit code 1 if there is no adapter. */
export async function infoCommand(argv: readonly string[]): Promise<number> {
  const parsed = parseArguments(command, argv);
  if (parsed.kind === "help") {
    process.stdout.write(parsed.text);
    return 0;
  }
  const adapters = await listAdapters({ robustness: false });
  for (const a of adapters) {
    const limits = Object.entries(a.limits).map(([name, value]) => `    ${name} ${value}`);
    const lines = [
      `${a.index}: ${a.name}${a.chosen ? "  <- used by default" : ""}`,
      `  why: ${a.why}; driver from ${a.source}; vendor ${a.vendor || "-"}, architecture ${a.architecture || "-"}`,
      `  features: ${a.features.join(", ") || "-"}`,
      `  limits:\n${limits.join("\n")}`,
    ];
    show(lines.join("\n"), parsed.values);
  }
  if (adapters.length === 0)
    show("No WebGPU adapter found: neither a GPU driver nor a software adapter.", parsed.values);
  if (parsed.values.json) printJson({ adapters });
  return adapters.length > 0 ? 0 : 1;
}
