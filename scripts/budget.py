"""Refuse modules and functions that have grown too long, and module names that say nothing.

    python scripts/budget.py [folder]

The folder is `src` unless told otherwise. Prints what is over budget and ends with status 1 if anything is.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 30
VAGUE_NAMES = frozenset({"util", "utils", "common", "helper", "helpers", "manager", "managers"})

EXEMPT: dict[str, str] = {}
"""`path` or `path:function` -> why it may be longer. An exemption that is no longer needed is an error."""


def main(folder: str) -> int:
    """Check every module under `folder`; the number of things over budget."""
    paths = sorted(Path(folder).rglob("*.py"))
    if not paths:
        print(f"There is no Python file under {folder}.")
        return 1
    found = [problem for path in paths for problem in problems(path)]
    complaints = [sentence for place, sentence in found if place not in EXEMPT]
    complaints += [f"{place}: is within budget, drop it from EXEMPT" for place in EXEMPT.keys() - dict(found).keys()]
    print("\n".join(complaints) or f"{len(paths)} modules within budget.")
    return len(complaints)


def problems(path: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with one module, as (place, sentence)."""
    if VAGUE_NAMES & {path.stem, path.parent.name}:
        yield f"{path}", f"{path}: a name that says nothing; name it for what it holds"
    text = path.read_text()
    length = len(text.splitlines())
    if length > MODULE_LINES:
        yield f"{path}", f"{path}: {length} lines, {MODULE_LINES} allowed; split it"
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines(node) > FUNCTION_LINES:
            sentence = f"{path}:{node.lineno}: {node.name} has {lines(node)} lines, {FUNCTION_LINES} allowed"
            yield f"{path}:{node.name}", sentence


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How long a function is from `def` to its end, its docstring aside: explaining must not cost anything."""
    first, last = function.body[0], function.end_lineno or function.lineno
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return last - function.lineno + 1 - docstring


if __name__ == "__main__":
    sys.exit(1 if main(*(sys.argv[1:2] or ["src"])) else 0)
