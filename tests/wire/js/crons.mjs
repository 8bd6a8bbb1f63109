// Crons are made, found, changed and removed, and one fires: node crons.mjs PACKAGE URL GATES
import { setTimeout as pause } from "node:timers/promises";

const [sdk, apiUrl] = process.argv.slice(2);
const { Client } = await import(sdk);
const client = new Client({ apiUrl, apiKey: null });

const { thread_id: threadId } = await client.threads.create();
const payload = { schedule: "* * * * * *", input: { tag: "A" }, metadata: { m: 1 }, multitaskStrategy: "reject" };
const made = await client.crons.createForThread(threadId, "steps", payload);
const other = await client.crons.create("steps", { schedule: "@yearly", enabled: false });
let runs = [];
while (!runs.length) {
  await pause(5);
  runs = await client.runs.list(threadId);
}
const changed = await client.crons.update(made.cron_id, { enabled: false, timezone: null, metadata: { n: 2 } });
const found = await client.crons.search({ threadId, select: ["cron_id", "enabled"] });
const counted = await client.crons.count({ threadId });
await client.crons.delete(made.cron_id);
await client.crons.delete(other.cron_id);
console.log(
  JSON.stringify({
    fired: runs[0].metadata.cron_id === made.cron_id,
    other: [other.thread_id, other.next_run_date, other.on_run_completed],
    changed: [changed.enabled, changed.next_run_date, changed.metadata],
    found: found.map(({ cron_id, ...rest }) => [cron_id === made.cron_id, rest]),
    counted,
    left: await client.crons.count({ threadId }),
  }),
);
