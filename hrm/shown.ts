/** Values of JSON as messages show them. */

const LONGEST = 60;

/**
 * A value for a message, short whatever it is: a file may hold lists nested deeper than `JSON.stringify` has stack for,
 * and strings as long as itself.
 */
export function shown(value: unknown): string {
  if (typeof value === "string") return shortened(JSON.stringify(value.slice(0, LONGEST)));
  if (value === undefined) return "nothing";
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (!Array.isArray(value)) return "an object";
  const items = value.slice(0, LONGEST).map((item) => (Array.isArray(item) ? "[...]" : shown(item)));
  return shortened(`[${items.join(", ")}]`);
}

function shortened(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 3)}...` : text;
}
