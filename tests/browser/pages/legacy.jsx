// A chat built on the `useStream` of @langchain/langgraph-sdk: one stream per run.
import { useStream } from "@langchain/langgraph-sdk/react";

import { Chat, apiUrl, asInput, assistantId, show, useThreadInAddress } from "./chat.jsx";

function Page() {
  const { threadId, onThreadId } = useThreadInAddress();
  const stream = useStream({
    apiUrl,
    assistantId,
    threadId,
    onThreadId,
    reconnectOnMount: true,
    fetchStateHistory: true,
  });

  // The hook keeps a queue of its own; an app that wants the server's creates the run and joins it.
  const enqueue = async (text) => {
    const { run_id: runId } = await stream.client.runs.create(threadId, assistantId, {
      input: asInput(text),
      multitaskStrategy: "enqueue",
      streamMode: ["values", "messages-tuple"],
      streamResumable: true,
    });
    await stream.joinStream(runId);
  };
  const send = (text, strategy) =>
    strategy === "enqueue"
      ? enqueue(text)
      : stream.submit(asInput(text), {
          multitaskStrategy: strategy,
          optimisticValues: (shown) => ({ messages: [...(shown.messages ?? []), ...asInput(text).messages] }),
        });

  return (
    <Chat
      messages={stream.messages}
      question={stream.interrupt?.value?.question}
      isLoading={stream.isLoading}
      error={stream.error}
      threadId={threadId}
      send={send}
      answer={(text) => stream.submit(undefined, { command: { resume: text } })}
      stop={() => stream.stop()}
    />
  );
}

show(<Page />);
