import type { Browser } from "puppeteer";

export interface Example {
  readonly title: string;
  readonly name: string;
  readonly manifest: object;
}

export function listExamples(): Example[];
export function packLibrary(folder: string, options?: { readonly built?: boolean }): Promise<string>;
export function runExample(
  example: Example,
  tarball: string,
  folder: string,
  browser: () => Promise<Browser>,
): Promise<string>;
