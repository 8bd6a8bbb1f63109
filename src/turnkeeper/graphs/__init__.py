"""The user's graphs: loaded, opened, run, and what they say translated to the wire."""
