"""The graphs under load. They know nothing of the server that runs them."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict, override

STEPS = 10


class Count(TypedDict, total=False):
    """A counter of executed nodes, and when the first of them began (wall clock)."""

    n: int
    started: float


class Pause(TypedDict, total=False):
    """How long the node takes, in seconds, and when it began (wall clock)."""

    seconds: float
    started: float


class Chat(TypedDict, total=False):
    """A conversation and the number of tokens wanted in the answer."""

    messages: Annotated[list[BaseMessage], add_messages]
    tokens: int


class ScriptedModel(BaseChatModel):
    """A chat model that streams its token numbers: ``0 1 2 …``."""

    @property
    @override
    def _llm_type(self) -> str:
        return "scripted"

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = "".join(f"{i} " for i in range(kwargs["tokens"]))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for i in range(kwargs["tokens"]):
            # A real model waits for the network before each token; without this one stream would hog the loop.
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"{i} "))


MODEL = ScriptedModel()


async def _first(state: Count) -> Count:
    return {"n": state.get("n", 0) + 1, "started": time.time()}


async def _next(state: Count) -> Count:
    return {"n": state.get("n", 0) + 1}


async def _answer(state: Chat, config: RunnableConfig) -> Chat:
    reply = await MODEL.ainvoke(state.get("messages", []), config, tokens=state.get("tokens", 0))
    return {"messages": [reply]}


async def _pause(state: Pause) -> Pause:
    started = time.time()
    await asyncio.sleep(state.get("seconds", 0))
    return {"started": started}


def _pausing() -> StateGraph[Pause]:
    graph = StateGraph(Pause)
    graph.add_node("pause", _pause)
    graph.add_edge(START, "pause")
    graph.add_edge("pause", END)
    return graph


def _chain(length: int) -> StateGraph[Count]:
    graph = StateGraph(Count)
    for i in range(length):
        graph.add_node(f"step{i}", _next if i else _first)
        graph.add_edge(f"step{i - 1}" if i else START, f"step{i}")
    graph.add_edge(f"step{length - 1}", END)
    return graph


def _chat() -> StateGraph[Chat]:
    graph = StateGraph(Chat)
    graph.add_node("answer", _answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph


noop = _chain(1).compile()
steps10 = _chain(STEPS).compile()
tokens = _chat().compile()
pause = _pausing().compile()
