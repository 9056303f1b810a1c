"""From a file, a workload's name or a dict, plus overrides, to one validated :class:`Config`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError
from .fields import Section
from .keys import Path as KeyPath
from .keys import canonical, canonical_path, leaves, merged, split_unknown
from .overrides import Override, parse_override
from .reading import checked_tree, read_config
from .schema import Config
from .workloads import SUFFIXES, find_workload

_HYDRA_GROUPS = ("hydra/",)


class ConfigWarning(UserWarning):
    """A configuration says something that has no effect, such as a key that nobody knows."""


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any] | Config | None,
    overrides: Iterable[str] = (),
    *,
    config_dir: str | os.PathLike[str] | None = None,
) -> Config:
    """Load a configuration and apply overrides.

    Parameters
    ----------
    source : str, path, mapping or None
        A YAML or JSON file; the name of a workload, bundled or in `config_dir`; or the tree itself, with
        or without the ``workload:`` level. A string with a folder or a suffix (``.yaml``, ``.yml``,
        ``.json``) in it is a file. None stands for DLIO's workload "default", unless an override
        ``workload=NAME`` says another one; that override replaces any `source`.
    overrides : iterable of str
        Hydra's grammar: ``key=value``, ``+key=value``, ``++key=value``, ``~key``; the key with or without
        ``workload.`` in front. ``key=value`` is accepted for every key of the schema, also where the
        file does not give it (Hydra would ask for a ``+``). ``+`` on a key that is given is an error,
        unless it adds to a mapping; so is ``~`` on one that is not. A mapping is merged into what is
        there, a list replaces it. ``hydra.*`` is kept aside as ``cfg.hydra``.
    config_dir : path, optional
        A folder with ``workload/NAME.yaml`` or ``NAME.yaml``, looked at before the bundled workloads.

    Returns
    -------
    Config
        Immutable; ``load_config(cfg.to_dict()) == cfg``, and likewise through ``cfg.to_yaml()``.

    Raises
    ------
    ConfigError
        Anything that is missing, misspelt in the grammar, or of a wrong type or value; all wrong values
        of one load are in one message.

    Warns
    -----
    ConfigWarning
        Once for each key that the schema does not have, naming the nearest one, and for each key beside
        ``workload:``; such keys are dropped.

    Examples
    --------
    >>> cfg = load_config("unet3d_h100", ["++workload.reader.batch_size=2"])
    >>> cfg.reader.batch_size, cfg.dataset.format, cfg.is_set("dataset.record_dims")
    (2, 'npz', False)
    """
    if isinstance(overrides, str):
        raise ConfigError(f"overrides must be a list of strings, not the string {overrides!r}")
    parsed = _parse_all(overrides)
    workload = next((item for item in reversed(parsed) if item.key == "workload" and _names(item)), None)
    if workload is not None:
        source = str(workload.value)
        name, tree = _read(find_workload(source, config_dir))
    else:
        name, tree = _read(_locate(source, config_dir))
    tree = canonical(tree)
    origins: dict[KeyPath, str] = {}
    for item in parsed:
        if item is not workload and not item.key.startswith(_HYDRA_GROUPS):
            tree = _apply(tree, item, origins, name)
    tree, unknown = split_unknown(Config, tree)
    for path, nearest in unknown:
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        where = _origin(path, origins, name)
        warnings.warn(f"{where}: unknown key {_dotted(path)} is ignored{hint}", ConfigWarning, stacklevel=2)
    return _validated(tree, name, origins)


def _parse_all(overrides: Iterable[str]) -> list[Override]:
    parsed, errors = [], []
    for text in overrides:
        try:
            parsed.append(parse_override(text))
        except ConfigError as error:
            errors.append(str(error))
    if errors:
        raise ConfigError("\n".join(errors))
    return parsed


def _names(item: Override) -> bool:
    """Tell whether an override of the key ``workload`` chooses a workload by name."""
    if isinstance(item.value, Mapping):
        return False
    if item.action != "change" or not isinstance(item.value, (str, int, float)) or item.value == "":
        raise ConfigError(f"override {item.text!r}: write workload=NAME")
    return True


def _locate(source: Any, config_dir: Any) -> Path | Mapping[str, Any]:
    if source is None:
        return find_workload("default", config_dir)
    if isinstance(source, Config):
        tree: dict[str, Any] = source.to_dict()
        return tree
    if isinstance(source, Mapping):
        return source
    if isinstance(source, str):
        looks_like_file = source.lower().endswith(SUFFIXES) or "/" in source or os.sep in source
        return Path(source) if looks_like_file else find_workload(source, config_dir)
    if isinstance(source, os.PathLike):
        return Path(os.fspath(source))
    kind = type(source).__name__
    raise ConfigError(f"a configuration is a path, a workload's name or a dict, not {kind}")


def _read(source: Path | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the source's name for messages and its tree without the ``workload:`` level."""
    name = str(source) if isinstance(source, Path) else "dict"
    tree = checked_tree(read_config(source) if isinstance(source, Path) else source, name)
    if "workload" in tree:
        inner = tree.pop("workload")
        inner = checked_tree(inner, f"{name}, workload")
        # Beside `workload` stand Hydra's own settings, in the files that Hydra writes into its output.
        for key in sorted(tree.keys() - {"hydra", "defaults"}):
            said = f"{name}: key {key} beside workload is ignored; move it below workload"
            warnings.warn(said, ConfigWarning, stacklevel=3)
        tree = merged({key: value for key, value in tree.items() if key == "hydra"}, inner)
    tree.pop("defaults", None)  # Hydra's list of files to put together
    return name, tree


def _apply(tree: dict[str, Any], item: Override, origins: dict[KeyPath, str], name: str) -> dict[str, Any]:
    if "/" in item.key:
        raise ConfigError(f"override {item.text!r}: no config group {item.key!r}; only workload=NAME is one")
    raw = tuple(item.key.split("."))
    raw = raw[1:] if raw[0] == "workload" else raw
    path = canonical_path(raw)
    value = checked_tree({"value": item.value}, f"override {item.text!r}")["value"]
    present = _present(tree, path)
    if item.action == "delete":
        if not present or (item.value is not None and _get(tree, path) != item.value):
            problem = "has another value" if present else "is not given"
            raise ConfigError(
                f"override {item.text!r}: cannot delete {_dotted(path)}, it {problem} in {name}"
            )
        return _without(tree, path)
    if item.action == "add" and present and not isinstance(value, (dict, list)):
        raise ConfigError(f"override {item.text!r}: {_dotted(path)} is given already; write ++ to replace it")
    fragment: Any = value
    for part in reversed(raw):
        fragment = {part: fragment}
    fragment = canonical(fragment)
    if item.action == "change" and not present:
        for unknown, nearest in split_unknown(Config, fragment)[1]:
            hint = f"; did you mean {nearest!r}?" if nearest else ""
            raise ConfigError(f"override {item.text!r}: no key {_dotted(unknown)}{hint} (++ adds any)")
    origins[path] = item.text
    changed: dict[str, Any] = merged(tree, fragment)
    return changed


def _get(tree: Any, path: KeyPath) -> Any:
    for part in path:
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _present(tree: Any, path: KeyPath) -> bool:
    return _get(tree, path) is not None


def _without(tree: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    first, *rest = path
    kept = {key: value for key, value in tree.items() if key != first}
    return {**kept, first: _without(tree[first], tuple(rest))} if rest else kept


def _dotted(path: KeyPath) -> str:
    return ".".join(path if path[:1] == ("hydra",) else ("workload", *path))


def _origin(path: KeyPath, origins: Mapping[KeyPath, str], name: str) -> str:
    """Return which override said what stands at `path`, else the name of the source."""
    for given, text in reversed(list(origins.items())):
        if path[: len(given)] == given:
            return f"override {text!r}"
    return name


def _validated(tree: dict[str, Any], name: str, origins: Mapping[KeyPath, str]) -> Config:
    problems = []
    for path, value in leaves({key: value for key, value in tree.items() if key != "hydra"}):
        if isinstance(value, str) and value == "???":
            problems.append((path, ": must be given; ??? marks a value without a default"))
        elif isinstance(value, str) and "${" in value:
            problems.append((path, f" = {value!r}: interpolations are not supported; write the value itself"))
    broken = {path for path, _ in problems}
    config = None
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        for entry in error.errors(include_url=False):
            path = tuple(str(part) for part in entry["loc"])
            if path not in broken:
                problems.append((path, _explained(entry)))
    if config is None or problems:
        lines = [f"{_origin(path, origins, name)}: {_dotted(path)}{text}" for path, text in problems]
        raise ConfigError("\n".join(lines))
    config._source = name
    return config


_ACCEPTED = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a string",
    "tuple_type": "a list",
    "model_type": "a section, that is a mapping of keys",
    "model_attributes_type": "a section, that is a mapping of keys",
    "missing": "a value; it is required",
    "greater_than_equal": "a number >= {ge}",
    "less_than_equal": "a number <= {le}",
    "less_than": "a number < {lt}",
    "literal_error": "{expected}",
}


def _explained(entry: Mapping[str, Any]) -> str:
    """Return the value and what is accepted, or what is wrong between several keys of a section."""
    value, context = entry["input"], entry.get("ctx", {})
    message = entry["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if isinstance(value, (Mapping, Section)) and entry["type"] == "value_error" and "error" in context:
        return f": {message}"
    pattern = _ACCEPTED.get(entry["type"])
    accepted = pattern.format(**context) if pattern else message
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return f" = {shown}: accepted is {accepted}"
