"""Names of keys: aliases brought to one spelling, and unknown names found with their nearest neighbour."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from .fields import Section

Path = tuple[str, ...]

_FRAMEWORKS = ("pytorch", "tensorflow", "jax")
_ALIASES: dict[Path, dict[str, str]] = {
    ("dataset",): {
        "record_length": "record_length_bytes",
        "record_length_stdev": "record_length_bytes_stdev",
        "record_length_resize": "record_length_bytes_resize",
    },
    ("model",): {"model_size": "model_size_bytes"},
    ("reader",): {
        "compute_threads": "computation_threads",
        "prefetch": "prefetch_size",
        "file_access_type": "file_access",
    },
    ("checkpoint",): {
        "uri": "checkpoint_folder",
        "folder": "checkpoint_folder",
        "path": "checkpoint_folder",
        "dir": "checkpoint_folder",
        "checkpoint_fsync": "fsync",
        "checkpoint_rank_sync": "rank_sync",
    },
}


def canonical(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree with every alias replaced by the key that it stands for.

    `data_reader` replaces `reader` as a whole, as in DLIO. `checkpointing` fills what `checkpoint` leaves
    open. ``framework: {pytorch: …}`` becomes ``pytorch_config``, whose own keys win. Among other aliases
    the key's proper name wins.
    """
    tree = dict(tree)
    if "data_reader" in tree:
        tree["reader"] = tree.pop("data_reader")
    if "checkpointing" in tree:
        tree["checkpoint"] = merged(
            _as_section(tree.pop("checkpointing")), _as_section(tree.get("checkpoint"))
        )
    if isinstance(tree.get("framework"), Mapping):
        for name, options in tree.pop("framework").items():
            key = f"{name}_config" if name in _FRAMEWORKS else f"framework.{name}"
            tree[key] = merged(_as_section(options), _as_section(tree.get(key)))
    for (section,), aliases in _ALIASES.items():
        if isinstance(tree.get(section), Mapping):
            tree[section] = _renamed(tree[section], aliases)
    return tree


def _as_section(value: Any) -> Any:
    return {} if value is None else value


def _renamed(section: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    proper = {key: value for key, value in section.items() if key not in aliases}
    for key, value in section.items():
        if key in aliases:
            proper.setdefault(aliases[key], value)
    return proper


def canonical_path(path: Sequence[str]) -> Path:
    """Return the path of a key with every alias on the way replaced."""
    marker = object()
    tree: Any = marker
    for part in reversed(path):
        tree = {part: tree}
    tree = canonical(tree)
    found: list[str] = []
    while tree is not marker:
        if not isinstance(tree, Mapping) or len(tree) != 1:
            return tuple(path)
        ((part, tree),) = tree.items()
        found.append(part)
    return tuple(found)


def merged(base: Any, update: Any) -> Any:
    """Return `base` with `update` merged in: mappings key by key, anything else replaced."""
    if not isinstance(base, Mapping) or not isinstance(update, Mapping):
        return update
    result = dict(base)
    for key, value in update.items():
        result[key] = merged(result.get(key), value)
    return result


def section_class(annotation: Any) -> type[Section] | None:
    """Return the section class in a field's annotation, looking into optional and list types."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(section_class, get_args(annotation))), None)


def split_unknown(root: type[Section], tree: Any, at: Path = ()) -> tuple[Any, list[tuple[Path, str | None]]]:
    """Return the tree without the keys that the schema lacks, and those keys' paths and nearest names.

    An empty section (``reader:`` without anything below) becomes an empty mapping on the way; a section
    that may be absent (``ksm: null``) stays off.
    """
    if not isinstance(tree, Mapping):
        return tree, []
    kept: dict[str, Any] = {}
    unknown: list[tuple[Path, str | None]] = []
    for key, value in tree.items():
        field = root.model_fields.get(key)
        if field is None:
            unknown.append(((*at, key), _nearest(root, key, at)))
            continue
        section = section_class(field.annotation)
        if section is not None:
            is_list = section is not field.annotation and isinstance(value, (list, tuple))
            required = section is field.annotation
            items = list(value) if is_list else [_as_section(value) if required else value]
            for index, item in enumerate(items):
                place = (*at, key, str(index)) if is_list else (*at, key)
                items[index], more = split_unknown(section, item, place)
                unknown += more
            value = items if is_list else items[0]
        kept[key] = value
    return kept, unknown


def _nearest(section: type[Section], key: str, at: Path) -> str | None:
    names = [*section.model_fields, *_ALIASES.get(at, ())]
    return next(iter(difflib.get_close_matches(key, names, n=1, cutoff=0.6)), None)


def leaves(tree: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the path and the value of everything in the tree that is not a mapping or a list."""
    items: Any = ()
    if isinstance(tree, Mapping):
        items = tree.items()
    elif isinstance(tree, (list, tuple)):
        items = ((str(index), item) for index, item in enumerate(tree))
    else:
        yield at, tree
    for key, value in items:
        yield from leaves(value, (*at, key))
