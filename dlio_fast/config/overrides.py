r"""The override grammar of Hydra, as far as a single run needs it.

``key=value`` changes a key, ``+key=value`` adds one, ``++key=value`` does either, ``~key`` (or
``~key=value``) deletes one. A value is a number, ``true``, ``false``, ``null``, a word, a quoted string,
``[a,b]`` or ``{a:1,b:2}``, nested as needed; ``\`` escapes the characters ``\()[]{}:=,`` and blanks.
Values get the types that Hydra gives them. What Hydra means for several runs or for computing values
(``a=1,2``, ``choice(1,2)``, ``int(3)``) is refused with a :class:`~dlio_fast.errors.ConfigError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ConfigError

_UNSIGNED = r"(?:0|[1-9](?:_?[0-9])*)"
_DIGITS = r"[0-9](?:_?[0-9])*"
_POINT = rf"(?:{_UNSIGNED}?\.{_DIGITS}|{_UNSIGNED}\.)"
# The longest match wins, the first of equally long ones: each pattern matches as far as it can.
_TOKENS = {
    kind: re.compile(pattern, re.DOTALL)
    for kind, pattern in (
        ("(", r"[ \t]*\([ \t]*"),
        (",", r"[ \t]*,[ \t]*"),
        (")", r"[ \t]*\)"),
        ("[", r"\[[ \t]*"),
        ("]", r"[ \t]*\]"),
        ("{", r"\{[ \t]*"),
        ("}", r"[ \t]*\}"),
        (":", r"[ \t]*:[ \t]*"),
        ("=", r"[ \t]*=[ \t]*"),
        ("float", rf"[+-]?(?:(?:{_POINT}|{_UNSIGNED})[eE][+-]?{_DIGITS}|{_POINT}|(?i:inf|nan))"),
        ("int", rf"[+-]?{_UNSIGNED}"),
        ("bool", r"(?i:true|false)"),
        ("null", r"(?i:null)"),
        ("char", r"[/\-\\+.$%*@?|]"),
        ("word", r"[a-zA-Z_][a-zA-Z0-9_\-]*"),
        ("escape", r"(?:\\[\\()\[\]{}:=, \t])+"),
        ("blank", r"[ \t]+"),
        ("quoted", r'"(?:(?:\\\\)*|.*?[^\\](?:\\\\)*)"' + r"|'(?:(?:\\\\)*|.*?[^\\](?:\\\\)*)'"),
        ("interpolation", r"\$\{[^}]+\}"),
    )
}
_KEY_PARTS = {"word", "null", "int", "float", "bool", "char", "escape", "blank"}
_VALUE_PARTS = _KEY_PARTS | {":", "interpolation"}
_PART = rf"(?:[a-zA-Z_$][a-zA-Z0-9_\-$]*|{_UNSIGNED})"
_OVERRIDE = re.compile(
    rf"(?P<action>\+\+?|~)?(?P<key>[a-zA-Z_][\w\-]*(?:/[a-zA-Z_][\w\-]*)+|[a-zA-Z_$][a-zA-Z0-9_\-$]*|{_PART}(?:\.{_PART})+)"
    r"(?P<package>@[^=]*)?(?:=[ \t]*(?P<value>.*))?",
    re.DOTALL | re.ASCII,
)
_MAX_DEPTH = 100

Action = Literal["change", "add", "set", "delete"]
_ACTIONS: dict[str | None, Action] = {None: "change", "+": "add", "++": "set", "~": "delete"}


@dataclass(frozen=True)
class Override:
    """One parsed override.

    Attributes
    ----------
    text : str
        As the user wrote it.
    action : str
        "change", "add", "set" (``++``) or "delete".
    key : str
        The dotted path, or a config group such as ``workload``.
    value : object
        Typed as Hydra types it; None where a deletion names no value.
    """

    text: str
    action: Action
    key: str
    value: Any


def parse_override(text: str) -> Override:
    """Parse one override; ConfigError where it is not of the grammar."""
    match = _OVERRIDE.fullmatch(text)
    if match is None:
        hint = "; write it as key=value" if "=" not in text else ""
        raise ConfigError(f"override {text!r}: not of the form [+|++|~]key=value{hint}")
    action = _ACTIONS[match["action"]]
    if match["package"] is not None:
        raise ConfigError(f"override {text!r}: config packages (key@package) are not supported")
    if match["value"] is None and action != "delete":
        raise ConfigError(f"override {text!r}: a value is missing; write {match['key']}=VALUE")
    try:
        value = parse_value(match["value"]) if match["value"] is not None else None
        if match["value"] == "":
            value = ""
    except ConfigError as error:
        raise ConfigError(f"override {text!r}: {error}") from None
    return Override(text, action, match["key"], value)


def parse_value(text: str) -> Any:
    """Parse a value to None, bool, int, float, str, list or dict; ConfigError where it is none."""
    if text == "":
        return ""
    parser = _ValueParser(text)
    value = parser.element(0)
    if parser.kind == ",":
        raise ConfigError("several values ask for several runs; quote the value if the comma belongs to it")
    if parser.kind is not None:
        parser.fail()
    return value


def _tokens(text: str) -> list[tuple[str, str]]:
    found = []
    at = 0
    while at < len(text):
        kind, length = "", 0
        for name, pattern in _TOKENS.items():
            match = pattern.match(text, at)
            if match and match.end() - at > length:
                kind, length = name, match.end() - at
        if not length:
            raise ConfigError(
                f"unexpected {text[at]!r} at character {at + 1} of {text!r}; put the value in quotes"
            )
        found.append((kind, text[at : at + length]))
        at += length
    return found


class _ValueParser:
    def __init__(self, text: str):
        self.text = text
        self.tokens = _tokens(text)
        self.next = 0

    @property
    def kind(self) -> str | None:
        return self.tokens[self.next][0] if self.next < len(self.tokens) else None

    def fail(self) -> None:
        if self.kind is None:
            raise ConfigError(f"{self.text!r} ends too early")
        at = sum(len(text) for _, text in self.tokens[: self.next])
        if self.kind == "(":
            raise ConfigError(
                f"functions and parentheses are not supported in {self.text!r}; quote the value"
            )
        found = self.tokens[self.next][1]
        raise ConfigError(f"unexpected {found!r} at character {at + 1} of {self.text!r}; quote the value")

    def element(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ConfigError("nested too deeply")
        if self.kind == "[":
            return self.items("]", lambda: self.element(depth + 1))
        if self.kind == "{":
            return dict(self.items("}", lambda: self.pair(depth + 1)))
        if self.kind == "quoted":
            self.next += 1
            return _unquoted(self.tokens[self.next - 1][1])
        return self.primitive(_VALUE_PARTS)

    def items(self, end: str, item: Any) -> list[Any]:
        self.next += 1
        found: list[Any] = []
        while self.kind != end:
            if found:
                if self.kind != ",":
                    self.fail()
                self.next += 1
            found.append(item())
        self.next += 1
        return found

    def pair(self, depth: int) -> tuple[Any, Any]:
        key = self.primitive(_KEY_PARTS)
        if self.kind != ":":
            self.fail()
        self.next += 1
        return key, self.element(depth)

    def primitive(self, allowed: set[str]) -> Any:
        first = self.next
        while self.kind in allowed:
            self.next += 1
        parts = self.tokens[first : self.next]
        if not parts:
            self.fail()
        if parts[0][0] == "blank":
            parts = parts[1:]
        if parts and parts[-1][0] == "blank":
            parts = parts[:-1]
        if not parts:
            raise ConfigError(f"a blank value in {self.text!r}; quote it")
        if len(parts) == 1:
            return _typed(*parts[0])
        return "".join(text[1::2] if kind == "escape" else text for kind, text in parts)


def _typed(kind: str, text: str) -> Any:
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "bool":
        return text.lower() == "true"
    if kind == "null":
        return None
    return text[1::2] if kind == "escape" else text


def _unquoted(text: str) -> str:
    """Strip the quotes; a backslash escapes only where a run of them stands before a quote."""
    quote, rest = text[0], text[1:]
    found = re.sub(rf"(\\+){quote}", lambda match: match[0][1::2], rest)
    return found if re.search(rf"\\{quote}$", rest) else found[:-1]
