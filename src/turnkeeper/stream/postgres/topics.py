"""What a process listens to."""

from turnkeeper.stream.way import Topic

ENDS = 2
GAP = 3
FORGET, FORGET_WITH_END = 4, 5

EVERYTHING = 0b111
"""All topics of a thread, one bit each: see `bit`."""


def kind(topic: Topic) -> int:
    """The kind of what is told on a topic: of a row of `stream_told`."""
    return ENDS if topic.protocol is None else int(topic.protocol)


def bits(of_kind: int) -> int:
    """Which topics of a thread a kind of item concerns."""
    return EVERYTHING if of_kind == GAP else 1 << of_kind if of_kind < GAP else 0


class Topics:
    """Topics with how many hold them. What nobody holds any more is kept until it is `dropped`."""

    def __init__(self) -> None:
        self._holders: dict[Topic, int] = {}
        self._bits: dict[str, int] = {}

    def hold(self, topic: Topic) -> None:
        """One more holds a topic."""
        self._holders[topic] = self._holders.get(topic, 0) + 1
        self._bits[topic.thread_id] = self.of(topic.thread_id) | bits(kind(topic))

    def release(self, topic: Topic) -> None:
        """One less does."""
        self._holders[topic] -= 1

    def of(self, thread_id: str) -> int:
        """Which topics of a thread are held, one bit each."""
        return self._bits.get(thread_id, 0)

    def threads(self) -> list[str]:
        """The threads of which anything is held."""
        return list(self._bits)

    def read(self) -> list[Topic]:
        """The topics on which frames are told."""
        return [topic for topic in self._holders if topic.protocol is not None]

    def drop(self) -> list[Topic]:
        """Let go of what nobody holds; which topics for frames that are."""
        idle = [topic for topic, holders in self._holders.items() if not holders]
        for topic in idle:
            del self._holders[topic]
            left = self._bits[topic.thread_id] & ~bits(kind(topic))
            if left:
                self._bits[topic.thread_id] = left
            else:
                del self._bits[topic.thread_id]
        return [topic for topic in idle if topic.protocol is not None]
