// Plays the founding scenario with each strategy and prints how it ended: node founding.mjs PACKAGE URL GATES
// GATES is the folder of tests/wire/app/gates.py.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const [sdk, apiUrl, gates] = process.argv.slice(2);
const { Client } = await import(sdk);
const client = new Client({ apiUrl, apiKey: null });

const ask = (city) => ({ messages: [{ role: "human", content: `what's the weather in ${city}?` }] });
const hold = (thread) => join(gates, thread, "sf.tool.hold");

async function started(thread) {
  for (;;) {
    const log = await readFile(join(gates, thread, "log"), "utf8").catch(() => "");
    if (log.includes("sf.tool began\n")) return;
    await pause(5);
  }
}

async function statusOf(thread, run) {
  if (run === undefined) return null;
  return client.runs.get(thread, run).then(
    (found) => found.status,
    (error) => (error.status === 404 ? null : Promise.reject(error)),
  );
}

function told(message) {
  const calls = (message.tool_calls ?? []).map((call) => `${call.name}(${call.args.city})`);
  return [message.type, message.content || calls.join(", ")];
}

// Collects the events of a stream until it ends by itself.
async function collect(stream) {
  const events = [];
  for await (const { event } of stream) events.push(event);
  return events;
}

async function play(multitaskStrategy) {
  const { thread_id: thread } = await client.threads.create();
  await mkdir(join(gates, thread));
  await writeFile(hold(thread), "");
  let refused;
  const first = await client.runs.create(thread, "agent", { input: ask("sf") });
  const watched = collect(client.runs.joinStream(thread, first.run_id));
  await started(thread);
  const second = await client.runs
    .create(thread, "agent", { input: ask("nyc"), multitaskStrategy })
    .catch((error) => void (refused = error.status));
  if (["reject", "enqueue"].includes(multitaskStrategy)) await rm(hold(thread));
  const joined = await client.runs.join(thread, (second ?? first).run_id);
  await watched;
  const state = await client.threads.getState(thread);
  return {
    refused: refused ?? null,
    joined: joined.messages.map(told),
    statuses: [await statusOf(thread, first.run_id), await statusOf(thread, second?.run_id)],
    messages: state.values.messages.map(told),
    next: state.next,
    thread: (await client.threads.get(thread)).status,
  };
}

const stories = {};
for (const strategy of ["reject", "enqueue", "interrupt", "rollback"]) stories[strategy] = await play(strategy);
console.log(JSON.stringify(stories));
