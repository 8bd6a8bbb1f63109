"""The thread-centric event protocol as runs speak it: events out of what LangGraph streams."""
