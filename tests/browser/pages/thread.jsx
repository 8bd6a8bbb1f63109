// A chat built on the `useStream` of @langchain/react: one stream per thread.
import { useStream, useSubmissionQueue } from "@langchain/react";

import { Chat, apiUrl, asInput, assistantId, show, useThreadInAddress } from "./chat.jsx";

function Page() {
  const { threadId, onThreadId } = useThreadInAddress();
  const stream = useStream({ apiUrl, assistantId, threadId, onThreadId });
  const queue = useSubmissionQueue(stream);

  return (
    <Chat
      messages={stream.messages}
      question={stream.interrupt?.value?.question}
      isLoading={stream.isLoading}
      error={stream.error}
      queued={queue.size}
      threadId={threadId}
      send={(text, strategy) => stream.submit(asInput(text), { multitaskStrategy: strategy })}
      answer={(text) => stream.respond(text)}
      stop={() => stream.stop()}
    />
  );
}

show(<Page />);
