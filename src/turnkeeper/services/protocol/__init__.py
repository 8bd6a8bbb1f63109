"""The thread-centric event protocol: its commands, and who gets which of a thread's events. Knows no transport."""
