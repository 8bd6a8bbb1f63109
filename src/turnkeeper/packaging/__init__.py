"""A user's project as a container image: `langgraph.json` → Dockerfile, ignore file and compose file. Runs nothing."""
