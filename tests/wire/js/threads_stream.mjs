// Conversations over the event protocol, by SSE and by WebSocket: node threads_stream.mjs PACKAGE URL GATES
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const [sdk, apiUrl, gates] = process.argv.slice(2);
const { Client } = await import(sdk);
const client = new Client({ apiUrl, apiKey: null });

const ask = (city) => ({ messages: [{ role: "human", content: `what's the weather in ${city}?` }] });

async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

// What the model says and the tool does in two turns of one conversation.
async function talked(transport) {
  const thread = client.threads.stream({ assistantId: "agent", transport });
  const [messages, calls] = [collect(thread.messages), collect(thread.toolCalls)];
  await thread.run.start({ input: ask("sf") });
  const said = await Promise.all((await messages).map((message) => message.text));
  const tools = [...new Set((await calls).map(({ name, input }) => `${name}(${input.city})`))]; // at start and end
  const output = (await thread.output).messages.map((message) => message.type);
  await thread.close();
  const again = client.threads.stream(thread.threadId, { assistantId: "agent", transport });
  const ended = end(again);
  await ended((await again.submitRun({ input: ask("nyc") })).run_id);
  const last = (await client.threads.getState(thread.threadId)).values.messages.at(-1);
  await again.close();
  return { said: said.filter(Boolean), tools, output, last: last.content };
}

// Waits for the end of a run, which may have been heard already.
function end(thread) {
  const over = new Set();
  thread.onEvent(({ event_id, method, params }) => {
    if (method === "lifecycle" && params.data.event === "completed") over.add(event_id.split(":")[1]);
  });
  return async (run) => {
    while (!over.has(run)) await pause(5);
  };
}

// A person is asked and answers.
async function answered(transport) {
  const thread = client.threads.stream({ assistantId: "ask", transport });
  await thread.run.start({ input: { tag: "A" } });
  await thread.output;
  const [{ interruptId, payload, namespace }] = thread.interrupts;
  const asked = { interrupted: thread.interrupted, payload };
  await thread.input.respond({ interrupt_id: interruptId, namespace, response: "yes" });
  let steps;
  while ((steps = (await client.threads.getState(thread.threadId)).values.steps).length < 3) await pause(5);
  const again = await thread.input
    .respond({ interrupt_id: interruptId, namespace, response: "yes" })
    .then(() => null, (error) => error.code);
  await thread.close();
  return { asked, steps, again };
}

// A second input while the first is worked on.
async function interrupted(transport) {
  const { thread_id: id } = await client.threads.create();
  await mkdir(join(gates, id));
  await writeFile(join(gates, id, "A.n2.hold"), "");
  const thread = client.threads.stream(id, { assistantId: "steps", transport });
  const lives = await thread.subscribe("lifecycle");
  const heard = [];
  thread.onEvent((event) => {
    if (event.method === "lifecycle") heard.push([event.event_id.split(":")[1], event.params.data.event]);
  });
  const { run_id: first } = await thread.submitRun({ input: { tag: "A" } });
  while (!(await readFile(join(gates, id, "log"), "utf8").catch(() => "")).includes("A.n2 began\n")) await pause(5);
  const { run_id: second } = await thread.submitRun({ input: { tag: "B" }, multitaskStrategy: "interrupt" });
  while (!heard.some(([run, event]) => run === second && event === "completed")) await pause(5);
  const { values } = await client.threads.getState(id);
  await lives.unsubscribe();
  await thread.close();
  await rm(join(gates, id, "A.n2.hold"));
  return { heard: heard.map(([run, event]) => [run === first ? "first" : "second", event]), steps: values.steps };
}

// The graphs in a graph.
async function nested(transport) {
  const thread = client.threads.stream({ assistantId: "subgraph", transport });
  const found = collect(thread.subgraphs);
  await thread.run.start({ input: { tag: "A" } });
  const tree = await (async () => {
    await thread.output;
    return thread.agent.getTree();
  })();
  const names = (await found).map(({ name }) => name);
  await thread.close();
  return { names, tree: tree.tree.children.map(({ graph_name }) => graph_name) };
}

const told = {};
for (const transport of ["sse", "websocket"]) {
  told[transport] = {
    talked: await talked(transport),
    answered: await answered(transport),
    interrupted: await interrupted(transport),
    nested: await nested(transport),
  };
}
console.log(JSON.stringify(told));
