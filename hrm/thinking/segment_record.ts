/** A record on the device with a row for each segment, so that a whole thought needs one read-back. */
import {
  add,
  assign,
  concat,
  div,
  equal,
  position,
  where,
  type Tensor,
  type Variable,
} from "../../engine/index.js";

/**
 * Writes the columns, each f32 [1, any], into the row of `record` (f32 [segments, width]) that `cursor` (i32 [1]) names, and
 * moves the cursor to the next row.
 */
export function recordSegment(record: Variable, cursor: Variable, columns: readonly Tensor[]): void {
  const { shape } = record;
  const row = columns.reduce((a, b) => concat([a, b], 1));
  const here = equal(div(position(shape), shape[1]!), cursor);
  assign(record, where(here, row, record));
  assign(cursor, add(cursor, 1));
}
