// Watches many streams at once and prints what each said: node streams.mjs PACKAGE URL < JOBS
// A job is { thread, graph, input, modes, resumable, cut }; `cut` is what tests/wire/scissors.py is told.
import { readFileSync } from "node:fs";

const [sdk, apiUrl] = process.argv.slice(2);
const { Client } = await import(sdk);

async function watch({ thread, graph, input, modes, resumable, cut }) {
  const client = new Client({ apiUrl, apiKey: null, defaultHeaders: { "x-cut": cut } });
  const stream = client.runs.stream(thread, graph, {
    input,
    streamMode: modes,
    streamSubgraphs: true,
    streamResumable: resumable,
  });
  const events = [];
  for await (const { id, event, data } of stream) events.push([id, event, data]);
  return events;
}

const jobs = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(await Promise.all(jobs.map(watch))));
