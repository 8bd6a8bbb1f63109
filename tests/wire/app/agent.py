"""A chat agent with one tool. Its model follows a script and streams word by word."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from gates import visit
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


@tool
async def get_weather(city: str, config: RunnableConfig) -> str:
    """Say what the weather is like in a city."""
    async with visit(config, f"{city}.tool"):
        return f"It is sunny in {city}."


class ScriptedModel(BaseChatModel):
    """Asks its tool about the city of the newest question, then repeats what the tool said."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError("these tests run it asynchronously")

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in script(messages):
            yield ChatGenerationChunk(message=chunk)


def script(messages: list[BaseMessage]) -> Iterator[AIMessageChunk]:
    """What the model says next."""
    if isinstance(messages[-1], ToolMessage):
        for word in re.findall(r"\s*\S+", messages[-1].text):
            yield AIMessageChunk(content=word)
    else:
        yield AIMessageChunk(content="", tool_call_chunks=[_call(city(messages), len(messages))])


def city(messages: Sequence[BaseMessage]) -> str:
    """The last word of the newest question."""
    question = next(message.text for message in reversed(messages) if isinstance(message, HumanMessage))
    return question.rstrip("?!. ").split()[-1]


def _call(place: str, number: int) -> Any:
    return tool_call_chunk(name="get_weather", args=f'{{"city": "{place}"}}', id=f"call_{number}", index=0)


async def model(state: MessagesState, config: RunnableConfig) -> dict[str, list[AIMessage]]:
    """One turn of the model."""
    async with visit(config, f"{city(state['messages'])}.model"):
        whole: Any = None
        async for chunk in ScriptedModel().astream(state["messages"], config):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}


def agent_graph() -> StateGraph[MessagesState]:
    """model ⇄ tools."""
    builder = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("tools", ToolNode([get_weather]))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    return builder


agent = agent_graph().compile(name="agent")
