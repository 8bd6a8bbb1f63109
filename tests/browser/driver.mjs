// A browser that does as it is told: reads a JSON request per line, writes a JSON answer per line, ends with its input.
import { join } from "node:path";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

import { find } from "./chromium.mjs";
import { cut, lay } from "./line.mjs";
import { serve } from "./pages.mjs";

const PATIENCE = 10_000; // milliseconds until what is waited for counts as missing

const [pagesUrl, browser] = await Promise.all([serve(), find().then(start)]);
const tabs = [];

// The npm package's own arguments are no use here: they switch web security off, and with it what CORS is about.
function start({ executablePath, env = process.env, libraries }) {
  const launch = (more) => chromium.launch({ executablePath, env: { ...env, ...more }, args: ["--no-sandbox"] });
  return launch().catch((error) => {
    if (!libraries || !String(error).includes("shared libraries")) throw error;
    return launch({ LD_LIBRARY_PATH: libraries });
  });
}

function isShown(expected) {
  const now = window.shown() ?? {};
  return Object.entries(expected).every(([key, wanted]) =>
    wanted === null ? now[key] : JSON.stringify(now[key]) === JSON.stringify(wanted),
  );
}

const verbs = {
  // Opens a tab in a profile of its own; its number.
  async open({ page, query }) {
    const context = await browser.newContext();
    const tab = await context.newPage();
    tab.setDefaultTimeout(PATIENCE);
    tab.complaints = [];
    tab.on("console", (line) => line.type() === "error" && tab.complaints.push(line.text()));
    tab.on("pageerror", (error) => tab.complaints.push(`uncaught: ${error}`));
    await tab.addInitScript({ path: join(import.meta.dirname, "watch.js") });
    await tab.goto(`${pagesUrl}/${page}?${new URLSearchParams(query)}`);
    return tabs.push(tab) - 1;
  },
  async enter({ tab, line, text }) {
    const field = tabs[tab].locator(`input[name=${line}]`);
    await field.fill(text);
    await field.press("Enter");
  },
  async press({ tab, name }) {
    await tabs[tab].getByRole("button", { name }).click();
  },
  async reload({ tab }) {
    await tabs[tab].reload();
  },
  // Waits until the page shows all of this, e.g. { status: "idle" }; null stands for anything but nothing.
  async until({ tab, expected }) {
    const page = tabs[tab];
    const met = await page.waitForFunction(isShown, expected).then(() => true, () => false);
    return { met, shown: await page.evaluate(() => window.shown()), complaints: page.complaints };
  },
  // Everything the tab has shown since it was loaded, in order.
  async seen({ tab }) {
    return tabs[tab].evaluate(() => window.seen);
  },
  complaints({ tab }) {
    return tabs[tab].complaints;
  },
  // What a page may read of an answer: { status, headers }.
  async headers({ tab, url, init }) {
    return tabs[tab].evaluate(async ([url, init]) => {
      const response = await fetch(url, init);
      await response.body?.cancel();
      return { status: response.status, headers: Object.fromEntries(response.headers) };
    }, [url, init]);
  },
  lay: ({ url }) => lay(url),
  cut,
  async close({ tab }) {
    await tabs[tab].context().close();
  },
};

const answer = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  const { verb, ...request } = JSON.parse(line);
  try {
    answer({ result: (await verbs[verb](request)) ?? null });
  } catch (error) {
    answer({ error: String(error.stack ?? error) });
  }
}
await browser.close();
process.exit();
