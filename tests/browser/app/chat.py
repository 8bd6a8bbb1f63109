"""What the pages talk to: a guide who speaks word by word, one who asks before booking, and one who fails."""

from collections.abc import AsyncIterator
from typing import Any

from gates import passed
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

Update = dict[str, list[BaseMessage]]


class Guide(BaseChatModel):
    """Says that the city it is asked about is lovely; a test may hold it before the last word."""

    @property
    def _llm_type(self) -> str:
        return "guide"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError("these tests stream it")

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        city = messages[-1].text
        for word in (city, " is"):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        await passed(city)
        yield ChatGenerationChunk(message=AIMessageChunk(content=" lovely."))


async def guide(state: MessagesState, config: RunnableConfig) -> Update:
    """One turn of the model."""
    return {"messages": [await Guide().ainvoke(state["messages"], config)]}


def approve(state: MessagesState) -> Update:
    """Ask a person; the answer becomes a message."""
    answer = interrupt({"question": f"Book {state['messages'][-1].text}?"})
    return {"messages": [AIMessage(f"Answered: {answer}.")]}


def fail(_: MessagesState) -> Update:
    """Fail, as code does."""
    raise ValueError("the map is upside down")


def one_node(node: Any) -> StateGraph[MessagesState]:
    """A graph that is this node."""
    builder = StateGraph(MessagesState)
    builder.add_node(node.__name__, node)
    builder.add_edge(START, node.__name__)
    return builder


chat = one_node(guide).compile(name="chat")
booking = one_node(approve).compile(name="booking")
broken = one_node(fail).compile(name="broken")
