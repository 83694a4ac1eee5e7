/**
 * Faults that tests must notice: in `file`, `find` (which stands there once) becomes `replace`, and a test of `test` whose
 * title matches `grep` must fail.
 */
const into = (file, test, grep, faults) =>
  faults.map(([name, find, replace]) => ({
    name,
    file,
    find,
    replace,
    test: `./test/${test}.test.ts`,
    grep,
  }));

export const FAULTS = [
  ...into("hrm/model/model.ts", "gpu/baselines", "^baselines ", [
    ["baselines: l_only updates H by z alone", 'arch === "l_only" ? injected() : zH', "zH"],
    [
      "baselines: a transformer reads its state",
      '"L_level", x, last)',
      '"L_level", add(x, latents.zL), last)',
    ],
  ]),
  ...into("hrm/model/model.ts", "gpu/carry_latents", "latents|Q target", [
    [
      "baselines: latents are carried without carry_latents",
      "return config.carry_latents\n",
      "return true\n",
    ],
  ]),
  ...into("hrm/cli/ablation/plan.ts", "node/ablation", "as many operations|leaves out", [
    ["ablation: every variant has the steps of one", "Math.round(budget / flops)", "1000"],
    ["ablation: equal variants stay", "if (same !== undefined)", "if (false)"],
  ]),
  ...into("hrm/cli/ablation/report.ts", "node/ablation", "tells mean", [
    ["ablation: differences from itself", "share(line) - share(other)", "share(line) - share(line)"],
  ]),
  ...into("hrm/report/page.ts", "node/report", "ends? its data early|seeds alone", [
    ["report: data may end early", 'replaceAll("<",', 'replaceAll("@@@",'],
    ["report: other plans count as seeds", "const key = JSON.stringify(plan);", 'const key = "";'],
  ]),
  ...into("hrm/training/answering.ts", "gpu/answering", "counts the flags|early halting are", [
    [
      "answers: a row counts itself",
      "less(remainder(place, size), div(place, size))",
      "less(remainder(place, size), add(div(place, size), 1))",
    ],
    [
      "answers: puzzles never stop early",
      "bitOr(bitOr(last, wants), equal(busy, 0))",
      "bitOr(last, equal(busy, 0))",
    ],
  ]),
  ...into("hrm/training/image_votes.ts", "node/image_votes", "", [
    ["votes: not mapped back", "before[source[from]!] = value", "before[from] = value"],
    ["votes: the fewest win", "b.votes - a.votes", "a.votes - b.votes"],
    ["votes: the first try counts", "if (q(other) > q(row)) row = other;", ";"],
  ]),
  ...into("hrm/cli/disk/write_atomically.ts", "node/power_cut", "disk that fails", [
    [
      "files: written in place",
      'join(folder, `.${process.pid}-${randomBytes(6).toString("hex")}.partial`)',
      "target",
    ],
    ["files: content not synced", "await file.sync();", ""],
    ["files: folder not synced", "await fs.syncFolder(folder);", ""],
    ["files: partial file left behind", "await fs.remove(partial).catch(() => undefined);", ""],
    [
      "files: errors of writing swallowed",
      "    throw error;\n  }\n  await fs.syncFolder",
      "  }\n  await fs.syncFolder",
    ],
  ]),
  ...into("hrm/cli/disk/write_atomically.ts", "node/run_folder", "keeps permissions and links", [
    ["files: permissions reset", "await file.setMode(before.mode).catch(() => undefined);", ""],
    ["files: links replaced", "const target = await followLinks(path, fs);", "const target = path;"],
    ["files: devices replaced", 'before.kind !== "file"', 'before.kind === "folder"'],
  ]),
  ...into("hrm/cli/disk/make_folder.ts", "node/power_cut", "disk that fails", [
    ["files: new folder not synced", "await fs.syncFolder(dirname(path));", ""],
  ]),
  ...into("hrm/cli/runs/checkpoint_store.ts", "node/checkpoint", "checkpoint store", [
    ["checkpoints: damaged files count", "if (!usable.get(name)) continue;", ""],
    ["checkpoints: the new one is not counted", "let kept = 1;", "let kept = 0;"],
    ["checkpoints: the new one may be removed", "if (name === written) continue;", ""],
    ["checkpoints: nothing is removed", "await fs.remove(join(folder, name));\n      usable", "usable"],
    ["checkpoints: partial files stay", "if (isPartial(name)) await", "if (false) await"],
    ["checkpoints: oldest first", "b.step - a.step", "a.step - b.step"],
    ["checkpoints: weights alone will do", "? wanted(checkpoint)", "? null"],
    ["checkpoints: any name will do", "checkpoint.step === Number(NAME.exec(name)![1])", "true"],
    ["checkpoints: unreadable folder is empty", 'if (codeOf(error) === "ENOENT") return [];', "return [];"],
  ]),
  ...into("hrm/files/checkpoints/seal.ts", "node/checkpoint", "^checkpoint ", [
    ["checkpoints: checksum not compared", "if (written !== computed)", "if (false)"],
  ]),
  ...into("hrm/cli/runs/log.ts", "node/run_folder", "history of a run", [
    ["history: lines past the step stay", "at.step > step ||", ""],
    ["history: lines of the step go", "at.step > step", "at.step >= step"],
    ["history: looks at the test set stay", '|| at.kind === "test"', ""],
    ["history: what is not understood goes", "!whole && isTorn(bytes)", "true"],
    ["history: torn lines stay", "!whole && isTorn(bytes)", "false"],
    [
      "history: unreadable is empty",
      'if (codeOf(error) === "ENOENT") return { size: 0 };',
      "return { size: 0 };",
    ],
    [
      "history: sync does nothing",
      "for (const path of [metrics, events]) await",
      "for (const path of []) await",
    ],
    ["history: its name not synced", "await written(folder, () => fs.syncFolder(folder));", ""],
    ["history: no newline after a whole last line", "if (!ended) await", "if (false) await"],
    ["history: starts share an event file", "if (!taken.includes(name)) return name;", "return name;"],
  ]),
  ...into("hrm/cli/runs/lock.ts", "node/run_lock", "lock of a run", [
    ["lock: nobody is refused", "if (!other) return", "return"],
    [
      "lock: killed processes hold on",
      "if (started === null) return false;",
      "if (started === null) return true;",
    ],
    ["lock: later processes hold on", "|| started === holder.started", "|| true"],
    ["lock: other machines are gone", "return holder.host !== self.host;", "return false;"],
    ["lock: other containers are gone", "|| holder.space !== self.space) return true;", ") return true;"],
    ["lock: stale files stay", "await fs.remove(join(folder, found.name));", ""],
    ["lock: not given back", "release: () => fs.remove(path)", "release: () => Promise.resolve()"],
    ["lock: unreadable locks are free", 'if (codeOf(error) !== "ENOENT") locks', "if (false) locks"],
  ]),
  ...into("hrm/cli/runs/config.ts", "node/config_files", "configurations from files", [
    ["config: ranges not checked", "v >= min && v <= max &&", ""],
    ["config: unknown fields accepted", "if (names.includes(name)) continue;", "continue;"],
  ]),
  ...into("hrm/model/field_rules.ts", "node/config_files", "configurations from files", [
    [
      "config: fields that objects bring along",
      "if (!Object.hasOwn(rules, field))",
      "if (!(field in rules))",
    ],
    ["config: numbers beyond f32", "Number.isFinite(Math.fround(value))", "Number.isFinite(value)"],
  ]),
  ...into("hrm/cli/inputs/strict_json.ts", "node/config_files", "JSON of configuration", [
    ["config: keys twice", "if (name in fields) throw", "if (false) throw"],
  ]),
  ...into("hrm/files/archives/zip.ts", "node/zip", "^zip ", [
    ["zip: overlap not checked", "if (start < before) throw", "if (false) throw"],
    ["zip: checksum not compared", "if (crc32(bytes) !== crc) throw", "if (false) throw"],
    ["zip: an entry twice", "if (entries.has(name)) throw", "if (false) throw"],
  ]),
  ...into("hrm/files/puzzles/npy.ts", "node/npy", "^npy ", [
    ["npy: big endian ignored", 'const little = kind[1] !== ">";', "const little = true;"],
    ["npy: Fortran order ignored", "fortranOrder ? fortranPositions(shape) : null", "null"],
  ]),
  ...into("hrm/model/act.ts", "gpu/act", "^(halting|the ACT loss) ", [
    ["act: one segment more", "greaterEqual(counted, maxSteps)", "greater(counted, maxSteps)"],
    [
      "act: minimum ignored",
      "bitAnd(bitOr(last, wants), greaterEqual(counted, minHaltSteps))",
      "bitOr(last, wants)",
    ],
    ["act: exploration turned round", "less(u, probability)", "greater(u, probability)"],
    ["act: target forgets q_continue", "max(next.qHalt, next.qContinue)", "next.qHalt"],
    [
      "act: target forgets the last segment",
      "where(last, next.qHalt, max(",
      "where(last, next.qContinue, max(",
    ],
  ]),
  ...into("hrm/model/loss.ts", "gpu/act", "^(halting|the ACT loss) ", [
    [
      "loss: q counted whole",
      "targetContinue ? add(halt, carryOn) : halt, 0.5",
      "targetContinue ? add(halt, carryOn) : halt, 1",
    ],
    ["loss: cells not averaged", "const lm = div(cells(perCell), divisor);", "const lm = cells(perCell);"],
    ["loss: rows counted before they halt", "bitAnd(halted, greater(counts, 0))", "greater(counts, 0)"],
    ["loss: one right cell solves", "equal(right, counts)", "greater(right, 0)"],
  ]),
  ...into("hrm/training/schedule.ts", "node/schedule", "^schedules ", [
    [
      "schedule: warm-up late by a step",
      "(base * t) / Math.max(1, warmup)",
      "(base * (t - 1)) / Math.max(1, warmup)",
    ],
    ["schedule: no minimum", "ratio + Math.max(0, (1 - ratio) * 0.5", "Math.max(0, (1 - ratio) * 0.5"],
  ]),
  ...into("kernels/optimizer.ts", "gpu/optimizer", "^optimizer ", [
    [
      "optimizer: no weight decay",
      "(1.0 - lr * ${literal(weightDecay)}) - lr * (${step})",
      "- lr * (${step})",
    ],
    ["optimizer: second moment not squared", "(gradient * gradient - v[index])", "(gradient - v[index])"],
    [
      "optimizer: average of old weights",
      "ema[index] += (p1 - ema[index])",
      "ema[index] += (p[index] * 0.5 - ema[index])",
    ],
  ]),
  ...into("hrm/cli/commands/convert.ts", "node/checkpoint_contents", "convert writes the weights", [
    [
      "convert: raw weights for the average",
      "return { tensors: average!,",
      "return { tensors: raw ?? average!,",
    ],
  ]),
  ...into("engine/autotune.ts", "gpu/autotune", "by the margin", [
    ["autotune: margin ignored", "gain >= 1 / (1 - margin)", "gain > 1"],
  ]),
  ...into("engine/ops/elementwise.ts", "gpu/numerics", "a tie of max or min", [
    [
      "min: both arguments take the gradient of a tie",
      'min: elementwiseOperation("min", ([a, b], dy) => chosen(less(b!, a!), dy))',
      'min: elementwiseOperation("min", ([a, b], dy) => chosen(lessEqual(b!, a!), dy))',
    ],
  ]),
  ...into("hrm/training/step.ts", "gpu/watch", "counts NaN and infinities", [
    ["watch: blind to what is not finite", "equal(isFinite(x), 0)", "equal(isFinite(x), 2)"],
  ]),
];
