/** Strict JSON for configuration files. Errors name the line. */

/** The text is not JSON, or has no defined meaning in JSON. Says where and why. */
export class JsonError extends Error {
  override readonly name = "JsonError";
  constructor(
    /** Counted from 1. */
    readonly line: number,
    readonly problem: string,
  ) {
    super(`line ${line} ${problem}`);
  }
}

/** The deepest nesting of lists and objects; configurations have three levels. */
const DEEPEST = 64;
const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/**
 * The value of a JSON text. Objects have no prototype, so that they have only the keys in the text.
 * @throws JsonError if the text is not JSON, if an object has a key twice, or if a number is too large for a double
 */
export function parseStrictJson(text: string): unknown {
  let at = 0;
  const bad = (problem: string, where = at): JsonError =>
    new JsonError(text.slice(0, where).split("\n").length, problem);
  const unexpected = (): JsonError =>
    bad(`is not JSON (got ${at >= text.length ? "the end" : JSON.stringify(text[at])})`);
  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found === undefined) return null;
    at += found.length;
    return found;
  };
  const takes = (mark: string): boolean => {
    match(SPACE);
    if (text[at] !== mark) return false;
    at++;
    return true;
  };
  const expect = (mark: string): void => {
    if (!takes(mark)) throw unexpected();
  };
  const key = (): string => {
    match(SPACE);
    const found = match(STRING);
    if (found === null) throw unexpected();
    return JSON.parse(found) as string;
  };
  const value = (depth: number): unknown => {
    match(SPACE);
    if (depth > DEEPEST) throw bad(`nests deeper than ${DEEPEST} lists and objects`);
    if (takes("[")) {
      const items: unknown[] = [];
      if (takes("]")) return items;
      do items.push(value(depth + 1));
      while (takes(","));
      expect("]");
      return items;
    }
    if (takes("{")) {
      const fields = Object.create(null) as Record<string, unknown>;
      if (takes("}")) return fields;
      do {
        const name = key();
        if (name in fields) throw bad(`has the key ${JSON.stringify(name.slice(0, 60))} a second time`);
        expect(":");
        fields[name] = value(depth + 1);
      } while (takes(","));
      expect("}");
      return fields;
    }
    const start = at;
    const found = match(STRING) ?? match(SCALAR);
    if (found === null) throw unexpected();
    const scalar = JSON.parse(found) as unknown;
    if (scalar === Infinity || scalar === -Infinity) throw bad("has a number beyond 1.8e308", start);
    return scalar;
  };
  // Some editors write a byte-order mark.
  if (text.startsWith("\ufeff")) at = 1;
  const result = value(0);
  match(SPACE);
  if (at < text.length) throw unexpected();
  return result;
}
