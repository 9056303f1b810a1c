"""YAML and JSON text to plain trees, and back.

The dialect is Hydra's: YAML 1.1 without dates, where ``1e-3`` is a number as well as ``1.0e-3``, and
where a key may not be given twice. Files ending in ``.json`` are read as JSON.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import ConfigError

_MAX_NODES = 200_000  # an alias can stand for a tree that no memory holds
_MAX_DEPTH = 100
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                if key_node.value in seen:
                    problem = f"key {key_node.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
                seen.add(key_node.value)
        tree: dict[Any, Any] = super().construct_mapping(node, deep)
        return tree


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes what :func:`read_config` reads back to the same values."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out: a configuration reads better without anchors."""
        return True


for _class in (_Loader, Dumper):
    _class.yaml_implicit_resolvers = {
        first: [item for item in resolvers if item[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _class.yaml_implicit_resolvers.items()
    }
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def read_config(path: Path) -> Any:
    """Return the tree in a YAML or JSON file; None for an empty one.

    Raises
    ------
    ConfigError
        The file is missing, unreadable or not valid, with line and column where there are any.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"no configuration file {str(path)!r}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"cannot read the configuration file {str(path)!r}: {reason}") from None
    return parse_json(text, str(path)) if path.suffix.lower() == ".json" else parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Any:
    """Return the tree in a YAML text; `source` names it in errors."""
    try:
        _check_depth(text, source)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        if "nesting depth" in (error.problem or ""):  # PyYAML 6.0.4 has a limit of its own
            raise ConfigError(f"{source}{place}: nested too deeply") from None
        raise ConfigError(f"{source}{place}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None


def _check_depth(text: str, source: str) -> None:
    """Refuse deep nesting ahead of the C loader, which recurses until it crashes."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else "?"
                raise ConfigError(f"{source}, line {line}: nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def parse_json(text: str, source: str) -> Any:
    """Return the tree in a JSON text; `source` names it in errors."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{source}, {place}: not valid JSON: {error.msg}") from None
    except ValueError as error:
        raise ConfigError(f"{source}: not valid JSON: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return tree


def checked_tree(tree: Any, source: str) -> dict[str, Any]:
    """Return a deep copy of a tree made of mappings with string keys, lists and single values.

    Paths become strings, numpy arrays lists.

    Raises
    ------
    ConfigError
        The top is not a mapping, a key is not a string, or the tree is too large or refers to itself.
    """
    count = 0

    def copy(value: Any, at: str, depth: int) -> Any:
        nonlocal count
        count += 1
        if count > _MAX_NODES or depth > _MAX_DEPTH:
            raise ConfigError(f"{source}: the configuration is too large, too deep or contains itself")
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    hint = " (YAML reads the bare words on, off, yes and no so: quote it)"
                    raise ConfigError(
                        f"{source}: key {key!r}{' below ' + at if at else ''} is not a string"
                        f"{hint if isinstance(key, bool) else ''}"
                    )
            return {key: copy(item, f"{at}.{key}" if at else key, depth + 1) for key, item in value.items()}
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, (list, tuple)):
            return [copy(item, f"{at}.{index}", depth + 1) for index, item in enumerate(value)]
        return value

    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{source}: a configuration is a mapping of sections, not {type(tree).__name__}")
    copied: dict[str, Any] = copy(tree, "", 0)
    return copied
