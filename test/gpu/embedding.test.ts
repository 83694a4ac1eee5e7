import { assert } from "chai";
import type { TypedArray } from "../../engine/tensor.js";
import { gatherRows, scatterAddRows, type EmbeddingSpec } from "../../kernels/embedding.js";
import { baselineCapabilities, type Capabilities } from "../../kernels/capabilities.js";
import type { Dtype } from "../../kernels/core/kernel.js";
import { EPS, VARIANTS, assertExact, runPoisoned } from "../support/kernels.js";
import { assertClose, random, randomIntegers } from "../support/random.js";

/** Indices with repeats, some below 0 and some past the table, as many as there are rows for. */
function someIndices({ rows, tableRows }: EmbeddingSpec): Int32Array {
  const indices = randomIntegers(rows, 0, tableRows);
  [-1, tableRows, 2 ** 31 - 1, -(2 ** 31)].forEach((index, i) => {
    if (3 * i + 2 < rows) indices[3 * i + 2] = index;
  });
  return indices;
}

function someValues(count: number, dtype: Dtype): TypedArray {
  const integers = randomIntegers(count, -(2 ** 31), 2 ** 31);
  return dtype === "f32" ? random(count) : dtype === "i32" ? integers : new Uint32Array(integers.buffer);
}

async function checkGather(spec: EmbeddingSpec, dtype: Dtype, capabilities: Partial<Capabilities>) {
  const { rows, size, tableRows } = spec;
  const table = someValues(tableRows * size, dtype);
  const indices = someIndices(spec);
  const { kernel, results } = await runPoisoned(
    (c) => gatherRows({ ...spec, dtype }, c),
    capabilities,
    { table, indices },
    { y: rows * size },
  );
  const expected = Array.from({ length: rows * size }, (_, i) => {
    const index = indices[Math.floor(i / size)]!;
    return index >= 0 && index < tableRows ? table[index * size + (i % size)]! : 0;
  });
  assertExact(results["y"]!, expected, kernel.name);
}

async function scatter(
  spec: EmbeddingSpec,
  capabilities: Partial<Capabilities>,
  dy: Float32Array,
  indices: Int32Array,
) {
  const make = (c: Capabilities) => scatterAddRows(spec, c);
  const sizes = { d_table: spec.tableRows * spec.size };
  const { kernel, results } = await runPoisoned(make, capabilities, { dy, indices }, sizes);
  return { name: kernel.name, table: results["d_table"]! };
}

async function checkScatter(spec: EmbeddingSpec, capabilities: Partial<Capabilities>) {
  const { rows, size, tableRows } = spec;
  const dy = random(rows * size);
  const indices = someIndices(spec);
  const { name, table } = await scatter(spec, capabilities, dy, indices);
  // f32 sums in ascending order of the rows. Another order would round some sums differently.
  const expected = new Float32Array(tableRows * size);
  indices.forEach((index, n) => {
    if (index < 0 || index >= tableRows) return;
    for (let c = 0; c < size; c++) expected[index * size + c]! += dy[n * size + c]!;
  });
  assertExact(table, expected, name);
}

/** Against float64, with the table's last row left empty: zeros to the bit. */
async function checkShared(spec: EmbeddingSpec, changed: Partial<Capabilities> = {}) {
  const { rows, size, tableRows } = spec;
  const dy = random(rows * size);
  const indices = someIndices(spec).map((index) => (index === tableRows - 1 ? 0 : index));
  const exact = new Float64Array(tableRows * size);
  const scale = new Float64Array(tableRows * size);
  indices.forEach((index, n) => {
    if (index < 0 || index >= tableRows) return;
    for (let c = 0; c < size; c++) {
      exact[index * size + c]! += dy[n * size + c]!;
      scale[index * size + c]! += Math.abs(dy[n * size + c]!);
    }
  });
  const { name, table } = await scatter(spec, { software: false, ...changed }, dy, indices);
  assert.match(name, /_shared$/);
  assertClose(table, exact, (i) => EPS * rows * scale[i]!, name);
}

/** N, D, V: ones, primes, scalar and vector rows, and both sides of the workgroups of 16 and 64 threads. */
const SHAPES = [
  [1, 1, 1],
  [1, 4, 3],
  [3, 5, 7],
  [17, 1, 2],
  [16, 4, 16],
  [15, 3, 5],
  [13, 8, 11],
  [63, 4, 3],
  [33, 2, 65],
  [63, 3, 21],
  [5, 20, 17],
] as const;

/**
 * N, D, V around the 64 threads that share an element, the 512 rows that they look at in one go, and the 4 vectors of
 * a workgroup.
 */
const SHARED = [
  [65, 3, 3],
  [512, 5, 2],
  [1025, 20, 4],
] as const;

describe("embedding", () => {
  for (const { variant, software } of VARIANTS) {
    for (const dtype of ["f32", "i32", "u32"] as const) {
      it(`gathers rows of ${dtype}, zeros for indices out of range, ${variant}`, async () => {
        for (const [rows, size, tableRows] of SHAPES)
          await checkGather({ rows, size, tableRows }, dtype, { software });
      });
    }
    it(`adds rows to a table in ascending order ${variant}`, async () => {
      for (const [rows, size, tableRows] of SHAPES)
        await checkScatter({ rows, size, tableRows }, { software });
      if (!software) return;
      // Long sums, whose order shows.
      await checkScatter({ rows: 500, size: 3, tableRows: 2 }, { software });
      await checkScatter({ rows: 500, size: 4, tableRows: 2 }, { software });
    });
    it(`folds dispatches past the limit ${variant}`, async () => {
      const limits = { software, maxComputeWorkgroupsPerDimension: 3 };
      const count = software ? 119 : 461;
      await checkGather({ rows: count, size: 1, tableRows: 5 }, "f32", limits);
      await checkScatter({ rows: 5, size: 1, tableRows: count }, limits);
    });
  }

  it("shares the elements of small tables among the threads of a GPU", async () => {
    for (const [rows, size, tableRows] of SHARED) await checkShared({ rows, size, tableRows });
    await checkShared({ rows: 64, size: 8, tableRows: 7 }, { maxComputeWorkgroupsPerDimension: 3 });
  });

  it("leaves few rows and large tables to a thread an element", () => {
    const name = (rows: number, tableRows: number) =>
      scatterAddRows({ rows, size: 4, tableRows }, baselineCapabilities).name;
    assert.match(name(64, 131071), /_shared$/);
    assert.notMatch(name(63, 131071), /_shared$/);
    assert.notMatch(name(64, 131072), /_shared$/);
  });

  it("counts the work", () => {
    const spec = { rows: 5, size: 8, tableRows: 3 };
    // A gather reads a table of 3 rows once, and of a large table only the requested rows.
    assert.equal(gatherRows({ ...spec, dtype: "f32" }, baselineCapabilities).bytes, 4 * (5 + 40 + 24));
    assert.equal(
      gatherRows({ ...spec, tableRows: 99, dtype: "f32" }, baselineCapabilities).bytes,
      4 * (5 + 40 + 40),
    );
    assert.equal(scatterAddRows(spec, baselineCapabilities).flops, 40);
    assert.equal(scatterAddRows(spec, baselineCapabilities).bytes, 4 * (5 + 40 + 24));
  });
});
