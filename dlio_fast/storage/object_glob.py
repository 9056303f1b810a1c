"""Patterns for keys, with the meaning that Python's :mod:`glob` gives them for paths."""

from __future__ import annotations

import re

_MAGIC = re.compile(r"[*?\[]")
_SHOWN = r"(?!\.)"


def has_magic(key: str) -> bool:
    """Tell whether it can be a pattern."""
    return _MAGIC.search(key) is not None


def glob_pattern(key: str) -> tuple[str, re.Pattern[str], bool]:
    """Translate a pattern.

    Returns
    -------
    (str, re.Pattern, bool)
        What every match begins with, the expression for whole keys, and whether matches can lie more than
        one folder below that beginning.
    """
    parts = key.split("/")
    expression = ""
    for place, part in enumerate(parts):
        last = place == len(parts) - 1
        if part == "**":
            expression += rf"(?:{_SHOWN}[^/]+/)*" + (rf"{_SHOWN}[^/]+" if last else "")
        else:
            expression += _component(part) + ("" if last else "/")
    magic = _MAGIC.search(key)
    literal = key[: magic.start()] if magic else key
    return literal, re.compile(expression, re.DOTALL), "/" in key[len(literal) :] or parts[-1] == "**"


def _component(part: str) -> str:
    if not has_magic(part):
        return re.escape(part)
    result = "" if part.startswith(".") else _SHOWN
    i = 0
    while i < len(part):
        letter = part[i]
        i += 1
        if letter == "*":
            result += "[^/]*"
        elif letter == "?":
            result += "[^/]"
        elif letter == "[" and (end := part.find("]", i + 1 + part.startswith("!", i))) > 0:
            inside = part[i:end].replace("\\", r"\\")
            inside = f"^/{inside[1:]}" if inside.startswith("!") else re.sub(r"^\^", r"\\^", inside)
            result += f"[{inside}]"
            i = end + 1
        else:
            result += re.escape(letter)
    return result
