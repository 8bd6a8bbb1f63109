// A person is asked and answers, then a run is stopped while it is watched: node human.mjs PACKAGE URL GATES
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const [sdk, apiUrl, gates] = process.argv.slice(2);
const { Client } = await import(sdk);
const client = new Client({ apiUrl, apiKey: null });

async function collect(stream) {
  const events = [];
  for await (const { event, data } of stream) events.push([event, data]);
  return events;
}

async function answered() {
  const { thread_id: thread } = await client.threads.create();
  const asked = await client.runs.wait(thread, "ask", { input: { tag: "A" } });
  const waiting = (await client.threads.get(thread)).status;
  const values = await client.runs.wait(thread, "ask", { command: { resume: "yes" } });
  return { asked: asked.__interrupt__.map(({ value }) => value), waiting, steps: values.steps };
}

async function stoppedWhileWatched() {
  const { thread_id: thread } = await client.threads.create();
  await mkdir(join(gates, thread));
  await writeFile(join(gates, thread, "A.n2.hold"), "");
  const watched = collect(client.runs.stream(thread, "steps", { input: { tag: "A" }, streamMode: "updates" }));
  while (!(await readFile(join(gates, thread, "log"), "utf8").catch(() => "")).includes("A.n2 began\n")) await pause(5);
  const second = client.runs.stream(thread, "steps", {
    input: { tag: "B" },
    streamMode: "updates",
    multitaskStrategy: "interrupt",
  });
  const shown = ([event, data]) => (event === "metadata" ? event : Object.keys(data));
  return { second: (await collect(second)).map(shown), first: (await watched).map(shown) };
}

console.log(JSON.stringify({ answered: await answered(), stopped: await stoppedWhileWatched() }));
