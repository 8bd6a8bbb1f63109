"""The example agent, driven as the server drives it but without waiting."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

FOLDER = Path(__file__).parents[2] / "examples" / "weather"
CONFIG: Any = {"configurable": {"thread_id": "t", "pace": 0}}


def load(name: str) -> Any:
    """Load the file that `langgraph.json` names, as the server does: by its path."""
    path, _, attribute = json.loads((FOLDER / "langgraph.json").read_text())["graphs"][name].partition(":")
    spec = importlib.util.spec_from_file_location("weather_agent", FOLDER / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert hasattr(module, attribute)
    return module


agent = load("agent")


@pytest.fixture
def graph() -> Any:
    """The example's graph with a memory."""
    return agent.graph.copy(update={"checkpointer": InMemorySaver()})


def human(text: str) -> dict[str, list[HumanMessage]]:
    return {"messages": [HumanMessage(text)]}


def told(messages: list[BaseMessage]) -> list[tuple[str, str]]:
    return [(message.type, message.text) for message in messages]


async def test_a_question_becomes_a_conversation_of_four_messages(graph: Any) -> None:
    state = await graph.ainvoke(human("what's the weather in sf?"), CONFIG)

    assert told(state["messages"]) == [
        ("human", "what's the weather in sf?"),
        ("ai", "Let me look out of the window in sf."),
        ("tool", "San Francisco is foggy, 60°F."),
        ("ai", "I looked out of the window: San Francisco is foggy, 60°F."),
    ]
    [call] = state["messages"][1].tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "sf"})
    assert state["messages"][2].tool_call_id == call["id"]


async def test_tokens_stream(graph: Any) -> None:
    chunks = [chunk async for chunk, _ in graph.astream(human("weather in nyc"), CONFIG, stream_mode="messages")]

    spoken = [chunk for chunk in chunks if isinstance(chunk, AIMessageChunk) and chunk.text]
    assert [chunk.text for chunk in spoken[:4]] == ["Let", " me", " look", " out"]
    assert "".join(chunk.text for chunk in spoken).endswith("New York is sunny, 90°F.")
    assert [part["name"] for chunk in chunks for part in getattr(chunk, "tool_call_chunks", ())] == [
        "get_weather",
        None,
    ]


async def test_a_tool_call_left_without_an_answer_does_not_disturb_the_next_turn(graph: Any) -> None:
    call = {"name": "get_weather", "args": {"city": "sf"}, "id": "call_1"}
    await graph.aupdate_state(CONFIG, {"messages": [HumanMessage("sf?"), AIMessage("Let me look.", tool_calls=[call])]})

    state = await graph.ainvoke(human("no, nyc"), CONFIG)

    assert told(state["messages"])[2:] == [
        ("human", "no, nyc"),
        ("ai", "Let me look out of the window in nyc."),
        ("tool", "New York is sunny, 90°F."),
        ("ai", "I looked out of the window: New York is sunny, 90°F."),
    ]


async def test_without_a_city_it_asks_for_one(graph: Any) -> None:
    state = await graph.ainvoke(human("hello"), CONFIG)

    assert told(state["messages"])[1:] == [("ai", "Tell me a city and I will look out of the window there.")]


@pytest.mark.parametrize(
    ("text", "city"),
    [
        ("what's the weather in sf?", "sf"),
        ("Weather in San Francisco, please", "San Francisco"),
        ("I meant nyc, not in sf... no, nyc!", "nyc"),
        ("and how is it in paris right now?", "paris"),
        ("Actually: Rio de Janeiro? No, Oslo", "Oslo"),
        ("what is it like for Addis Ababa instead", "Addis Ababa"),
        ("Hello", None),
        ("What else?", None),
        ("", None),
    ],
)
def test_the_city_is_found(text: str, city: str | None) -> None:
    assert agent.find_city(text) == city


def test_a_report_is_the_same_every_time() -> None:
    assert agent.weather("Oslo") == agent.weather("Oslo") == "Oslo is sunny, 64°F."


def test_pace_stretches_the_waiting() -> None:
    question = [HumanMessage("sf?")]

    def turn(pace: float) -> float:
        return sum(wait for wait, _ in agent.ScriptedModel(pace=pace)._timed(question, {}))

    assert turn(1) == pytest.approx(agent.TURN_SECONDS)
    assert turn(0) == 0


def test_the_model_also_answers_without_an_event_loop() -> None:
    model = agent.ScriptedModel(pace=0)

    assert model.invoke([HumanMessage("hello"), ToolMessage("It rains.", tool_call_id="1")]).text.endswith("It rains.")
