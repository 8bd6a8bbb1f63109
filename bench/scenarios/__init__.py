"""The scenarios by name."""

from bench.scenarios import ageing, start, tokens, wait

SCENARIOS = {module.SCENARIO.name: module.SCENARIO for module in (start, wait, tokens, ageing)}
