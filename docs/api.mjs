/** `npm run docs:api`: writes the API reference, made of the doc comments, to build/api/index.html. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Application } from "typedoc";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
/** The source of each entry, by the name under which it is imported. */
const entries = new Map(
  Object.entries(exports)
    .filter(([, target]) => target.types)
    .map(([name, { types }]) => [
      types.replace(/^\.\/dist\/(.*)\.d\.ts$/, "$1.ts"),
      name.replace(/^\./, "hrm-webgpu"),
    ]),
);

const application = await Application.bootstrap({
  name: "hrm-webgpu",
  entryPoints: [...entries.keys()].map((file) => join(root, file)),
  tsconfig: join(root, "tsconfig.build.json"),
  readme: "none",
  disableGit: true,
  excludeInternal: true,
  excludePrivate: true,
  disableSources: true,
  // Names that a public type mentions are explained where they are declared, exported or not.
  validation: { notExported: false, invalidLink: true },
  logLevel: "Warn",
});
const project = await application.convert();
if (!project) process.exit(1);
for (const module of project.children ?? []) {
  const name = ["", "/index"].map((end) => entries.get(`${module.name}${end}.ts`)).find(Boolean);
  if (name) module.name = name;
}
await application.generateDocs(project, join(root, "build/api"));
console.log("the API reference is in build/api/index.html");
