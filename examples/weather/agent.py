"""A weather agent that needs no key and no network: its model follows a script, at the pace of a real one.

The first model turn takes about one second, the look out of the window two, the answer one. A second message that
arrives two seconds after the first therefore meets a tool call under way. `config["configurable"]["pace"]` stretches
all waiting: 2 is twice as slow, 0 does not wait at all.
"""

import asyncio
import json
import re
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

TURN_SECONDS = 1.0
LOOK_SECONDS = 2.0

CITIES = {
    "sf": "San Francisco",
    "san francisco": "San Francisco",
    "nyc": "New York",
    "new york": "New York",
    "new york city": "New York",
}
KNOWN = {"San Francisco": "foggy, 60°F", "New York": "sunny, 90°F"}
SKIES = ("sunny", "cloudy", "rainy", "windy", "foggy", "snowy")

_CITED = re.compile(r"\b(?:in|for|at|about)\s+(?P<city>[^?!.,;:]+)", re.IGNORECASE)
_CODA = re.compile(r"\s+(?:(?:right )?now|today|tonight|tomorrow|please|instead|then)\s*$", re.IGNORECASE)
_ALIAS = re.compile(rf"\b(?:{'|'.join(sorted(CITIES, key=len, reverse=True))})\b", re.IGNORECASE)
_OPENER = r"(?:Actually|And|Can|Good|Hello|Hey|Hi|How|I|Is|It|No|Not|Oh|Or|Sorry|Thank|Thanks|The|Wait|What|Yes)\b"
_NAME = re.compile(rf"\b(?!{_OPENER})[A-Z]\w+(?: [A-Z]\w+)*")


# --- The tool ---------------------------------------------------------------------------------------------------------


@tool
async def get_weather(city: str, config: RunnableConfig) -> str:
    """Look out of the window in a city and say what the weather is like there."""
    await asyncio.sleep(LOOK_SECONDS * pace(config))
    return weather(city)


def weather(city: str) -> str:
    """The report for a city: the same one every time."""
    name = CITIES.get(city.lower(), city.title() if city.islower() else city)
    chance = zlib.crc32(name.lower().encode())  # `hash` differs from process to process
    return f"{name} is {KNOWN.get(name) or f'{SKIES[chance % len(SKIES)]}, {40 + chance % 50}°F'}."


def pace(config: RunnableConfig) -> float:
    """The factor the caller wants all waiting stretched by."""
    return float(config.get("configurable", {}).get("pace", 1.0))


# --- The model --------------------------------------------------------------------------------------------------------


class ScriptedModel(BaseChatModel):
    """A chat model that asks for the weather of the city it is told, then repeats what the tool said."""

    pace: float = 1.0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,  # noqa: ARG002 - part of the signature; the script makes the choice
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call `tools`; it calls the first."""
        return self.bind(tools=[convert_to_openai_tool(each) for each in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 - part of the signature; a script needs no stop words
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the base class reports the tokens
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for wait, chunk in self._timed(messages, kwargs):
            time.sleep(wait)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 - part of the signature; a script needs no stop words
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the base class reports the tokens
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for wait, chunk in self._timed(messages, kwargs):
            await asyncio.sleep(wait)
            yield chunk

    def _timed(
        self, messages: Sequence[BaseMessage], options: dict[str, Any]
    ) -> Iterator[tuple[float, ChatGenerationChunk]]:
        chunks = list(script(messages, options.get("tools", ())))
        chunks[-1].chunk_position = "last"
        for chunk in chunks:
            yield self.pace * TURN_SECONDS / len(chunks), ChatGenerationChunk(message=chunk)


def script(messages: Sequence[BaseMessage], tools: Sequence[dict[str, Any]]) -> Iterator[AIMessageChunk]:
    """What the model says next, token by token.

    Only what came after the newest human message counts: an earlier turn may have been stopped halfway and have
    left a tool call nobody answered.
    """
    said = next((each.text for each in reversed(messages) if isinstance(each, HumanMessage)), "")
    city = find_city(said)
    if messages and isinstance(messages[-1], ToolMessage):
        yield from tokens(f"I looked out of the window: {messages[-1].text}")
    elif city is None or not tools:
        yield from tokens("Tell me a city and I will look out of the window there.")
    else:
        yield from tokens(f"Let me look out of the window in {city}.")
        yield from call(tools[0]["function"]["name"], city=city)


def tokens(sentence: str) -> Iterator[AIMessageChunk]:
    """A sentence as a model streams it: each word with the space before it."""
    for token in re.findall(r"\s*\S+", sentence):
        yield AIMessageChunk(content=token)


def call(name: str, **arguments: str) -> Iterator[AIMessageChunk]:
    """A tool call as a model streams it: first its name, then its arguments."""
    identity = f"call_{uuid.uuid4().hex}"
    yield AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(name=name, args="", id=identity, index=0)])
    yield AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(args=json.dumps(arguments), index=0)])


def find_city(text: str) -> str | None:
    """The city a message is about: the last it knows, else what follows `in`, else the last capitalised name."""
    if aliases := _ALIAS.findall(text):
        return aliases[-1]
    if cited := _CITED.search(text):
        return _CODA.sub("", cited["city"]).strip()
    names = _NAME.findall(text)
    return names[-1] if names else None


# --- The graph --------------------------------------------------------------------------------------------------------


async def call_model(state: MessagesState, config: RunnableConfig) -> dict[str, list[AIMessage]]:
    """One turn of the model."""
    model = ScriptedModel(pace=pace(config)).bind_tools([get_weather])
    return {"messages": [await model.ainvoke(state["messages"], config)]}


graph = (
    StateGraph(MessagesState)
    .add_node("model", call_model)
    .add_node("tools", ToolNode([get_weather]))
    .add_edge(START, "model")
    .add_conditional_edges("model", tools_condition)
    .add_edge("tools", "model")
    .compile(name="weather")
)
