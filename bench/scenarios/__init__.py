"""The scenarios by name."""

from bench.scenarios import ageing, interrupt, start, streams, tokens, wait

SCENARIOS = {module.SCENARIO.name: module.SCENARIO for module in (start, interrupt, wait, tokens, streams, ageing)}
