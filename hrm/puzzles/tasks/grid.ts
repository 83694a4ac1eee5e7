/** A user's own task: a grid of tokens in, a grid of tokens out, with rules or without. */
import { gridPicture, type PictureCell } from "./picture.js";
import { decodeCells, PuzzleError, requireLength, type Task, type Verdict } from "./task.js";
import { styled } from "./text.js";

/** What a task of one's own needs to say. */
export interface GridTask {
  /** Rows of the grid. */
  readonly rows: number;
  /** Columns of the grid. */
  readonly columns: number;
  /** Tokens are 0 to vocabSize - 1; 0 is for padding. */
  readonly vocabSize: number;
  /** Default `grid-ROWSxCOLUMNS-vVOCAB`, which `findTask` knows. */
  readonly name?: string;
  /** One character a token, for text; default `.123456789abc...`. */
  readonly symbols?: string;
  /** Rows of the puzzle embedding; default 1. */
  readonly numPuzzleIdentifiers?: number;
  /** The rules; by default no rules are known, and the verdict is null. */
  check?(input: ArrayLike<number>, answer: ArrayLike<number>): Verdict;
}

const SYMBOLS = ".123456789abcdefghijklmnopqrstuvwxyz";

/** A task from its sizes. @throws PuzzleError on sizes that are no positive integers, or symbols that do not fit */
export function gridTask(options: GridTask): Task {
  const { rows, columns, vocabSize, numPuzzleIdentifiers = 1 } = options;
  const name = options.name ?? `grid-${rows}x${columns}-v${vocabSize}`;
  for (const [field, value] of Object.entries({ rows, columns, vocabSize, numPuzzleIdentifiers }))
    if (!Number.isInteger(value) || value < 1)
      throw new PuzzleError(`${name}: got ${field} = ${value}; expected a positive integer.`);
  const symbols = options.symbols ?? SYMBOLS;
  if (options.symbols !== undefined && (symbols.length !== vocabSize || new Set(symbols).size !== vocabSize))
    throw new PuzzleError(
      `${name}: got ${symbols.length} symbols; expected ${vocabSize} different ones, one a token.`,
    );
  const length = rows * columns;
  // Larger vocabularies than there are letters are written as numbers.
  const wide = symbols.length < vocabSize;
  const symbol = (token: number): string => (wide ? String(token) : (symbols[token] ?? "?"));
  const decode = (text: string): Int32Array => {
    if (!wide) {
      const tokenOf = (c: string): number | undefined => {
        const token = symbols.indexOf(c);
        return token >= 0 && token < vocabSize ? token : undefined;
      };
      return decodeCells(
        name,
        text,
        length,
        tokenOf,
        `one of ${JSON.stringify(symbols.slice(0, vocabSize))}`,
      );
    }
    const numbers = text.trim().split(/[\s,]+/);
    const bad = numbers.find((number) => !/^\d+$/.test(number) || Number(number) >= vocabSize);
    if (bad !== undefined)
      throw new PuzzleError(
        `${name}: got ${JSON.stringify(bad)}; expected tokens from 0 to ${vocabSize - 1}, separated by spaces.`,
      );
    return requireLength(name, Int32Array.from(numbers, Number), length, "a grid");
  };
  return {
    name,
    vocabSize,
    length,
    rows,
    columns,
    numPuzzleIdentifiers,
    symmetry: null,
    vocabulary: () => (wide ? null : Array.from(symbols.slice(0, vocabSize))),
    parse: (text) => decode(wide ? text : text.replace(/[\r\n]/g, "")),
    decode,
    format: (cells) => Array.from(requireLength(name, cells, length, "cells"), symbol).join(wide ? " " : ""),
    check:
      options.check?.bind(options) ??
      ((_, answer) => {
        requireLength(name, answer, length, "answer");
        return { solved: null, violations: [] };
      }),
    classOf: (input) => Array.prototype.join.call(input, " "),
    renderText(cells, { input, violations = [], color = false } = {}) {
      requireLength(name, cells, length, "cells");
      const marked = new Set(violations);
      const width = Math.max(...Array.from(cells, (token) => symbol(token).length));
      const cell = (index: number): string => {
        const text = symbol(cells[index]!).padStart(width);
        if (!color) return text;
        if (marked.has(index)) return styled(text, ["red"]);
        return styled(text, input && input[index] === cells[index] ? ["dim"] : []);
      };
      return Array.from({ length: rows }, (_, r) =>
        Array.from({ length: columns }, (_, c) => cell(r * columns + c)).join(wide ? " " : ""),
      ).join("\n");
    },
    renderPicture(cells, { input, violations = [] } = {}) {
      requireLength(name, cells, length, "cells");
      const marked = new Set(violations);
      return gridPicture({
        rows,
        columns,
        label: name,
        box: { rows: 1, columns: 1 },
        cell: (index): PictureCell => ({
          text: cells[index] === 0 ? "" : symbol(cells[index]!),
          ink: !input || input[index] === cells[index] ? "given" : "filled",
          ...(marked.has(index) && { fill: "violation" as const }),
        }),
      });
    },
  };
}
