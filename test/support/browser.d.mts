import type { Browser } from "puppeteer";

export function launchBrowser(): Promise<Browser>;
