// What both pages look like. A page says where its server is in its own address: ?api=URL&assistant=ID&thread=ID.
import { useState } from "react";
import { createRoot } from "react-dom/client";

const address = new URLSearchParams(location.search);

export const apiUrl = address.get("api");
export const assistantId = address.get("assistant");

// The thread is kept in the address, as most apps do it, so that a reloaded page finds it again.
export function useThreadInAddress() {
  const [threadId, setThreadId] = useState(address.get("thread"));
  const onThreadId = (id) => {
    address.set("thread", id);
    history.replaceState(null, "", `?${address}`);
    setThreadId(id);
  };
  return { threadId, onThreadId };
}

export const asInput = (text) => ({ messages: [{ type: "human", content: text }] });

const textOf = (content) => (Array.isArray(content) ? content.map((block) => block.text).join("") : content);

export function Chat({ messages, question, isLoading, error, queued = 0, threadId, send, answer, stop }) {
  return (
    <main
      data-thread={threadId ?? ""}
      data-status={isLoading ? "running" : "idle"}
      data-error={error?.message ?? ""}
      data-question={question ?? ""}
      data-queued={queued}
    >
      <ol>
        {messages.map((message) => (
          <li key={message.id}>{`${message.type}: ${textOf(message.content)}`}</li>
        ))}
      </ol>
      <Line name="say" onEnter={send} />
      <Line name="answer" onEnter={answer} />
      <button onClick={stop}>stop</button>
    </main>
  );
}

// `interrupt> rome` sends "rome" with that strategy.
function Line({ name, onEnter }) {
  const enter = (event) => {
    if (event.key !== "Enter") return;
    const [text, strategy] = event.target.value.split("> ").reverse();
    event.target.value = "";
    onEnter(text, strategy);
  };
  return <input name={name} onKeyDown={enter} />;
}

export const show = (page) => createRoot(document.getElementById("root")).render(page);
