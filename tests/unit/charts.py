"""Helm charts rendered by Helm itself, which comes as a wheel (`helm-python-sdk`) and runs in a process of its own.

What it brings along, a runtime with threads and signal handlers, is for no other test to live with.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Rendered(NamedTuple):
    """What Helm made of a chart."""

    texts: list[dict[str, str] | str]
    """For each set of values the texts by file, or why there are none."""
    complaints: list[str]
    """What `helm lint` says is wrong."""


def render(chart: Path, *sets: dict[str, Any]) -> Rendered:
    """The chart with each of these sets of values."""
    command = [sys.executable, __file__, str(chart)]
    result = subprocess.run(command, input=json.dumps(sets), capture_output=True, text=True, check=True, timeout=50)
    return Rendered(*json.loads(result.stdout.splitlines()[-1]))


def objects(texts: dict[str, str] | str) -> dict[tuple[str, str], Any]:
    """All Kubernetes objects of a rendered chart, by kind and name."""
    assert isinstance(texts, dict), texts
    found = [
        each for name, text in texts.items() if name.endswith(".yaml") for each in yaml.safe_load_all(text) if each
    ]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def _main(chart: str) -> None:
    helm: Any = importlib.import_module("helm_python")
    sets = json.load(sys.stdin)
    texts: list[dict[str, str] | str] = []
    with helm.Chart.load(chart) as loaded:
        for values in sets:
            try:
                texts.append(loaded.render(values, name="demo", namespace="prod"))
            except helm.HelmError as error:
                texts.append(str(error))
    lint = helm.lint(chart, values=sets[0])
    print(f"\n{json.dumps([texts, lint['errors']])}")


if __name__ == "__main__":
    _main(sys.argv[1])
