"""A model that can be held in the middle of a sentence."""

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import Field
from telling import visit


class Hesitant(BaseChatModel):
    """Says two words; whoever holds `TAG.words` hears only the first."""

    place: dict[str, Any] = Field(default_factory=dict[str, Any])

    @property
    def _llm_type(self) -> str:
        return "hesitant"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError("these tests run it asynchronously")

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="Once"))
        async with visit({"configurable": self.place}, f"{messages[-1].text}.words"):
            yield ChatGenerationChunk(message=AIMessageChunk(content=" upon"))


async def speak(state: MessagesState, config: RunnableConfig) -> dict[str, list[BaseMessage]]:
    """Let the model answer the newest message."""
    model = Hesitant(place=config.get("configurable", {}))
    return {"messages": [await model.ainvoke(state["messages"], config)]}


def words_graph() -> StateGraph[MessagesState]:
    """One turn of a chat whose answer comes word by word."""
    builder = StateGraph(MessagesState)
    builder.add_node("speak", speak)
    builder.add_edge(START, "speak")
    return builder


words = words_graph().compile(name="words")
