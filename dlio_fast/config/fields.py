"""Building blocks of the schema: the section base class, immutable mappings and the value types of DLIO."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator


class FrozenDict(dict[Any, Any]):
    """A dict that cannot change; nested dicts and lists are frozen along with it. Picklable and hashable."""

    __slots__ = ()

    def __init__(self, items: Mapping[str, Any] = {}):
        super().__init__({key: freeze(value) for key, value in items.items()})

    def _refuse(self, *_args: Any, **_kwargs: Any) -> Any:
        raise TypeError("a configuration cannot be changed after loading; pass an override to load_config")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse  # pyright: ignore[reportAssignmentType]

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenDict:
        return self

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def freeze(value: Any) -> Any:
    """Return `value` with every dict made a :class:`FrozenDict` and every list a tuple."""
    if isinstance(value, Mapping):
        return FrozenDict(value)
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    return value


def plain(value: Any) -> Any:
    """Return `value` as what YAML can say: sections and mappings as dicts, tuples as lists."""
    if isinstance(value, Section):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


class Section(BaseModel):
    """One section of a configuration: typed, immutable, and it remembers which keys were given.

    ``section.model_fields_set`` holds the names of the given keys; all others are at their defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, allow_inf_nan=False)

    def to_dict(self) -> Any:
        """Return the given keys, and only those, as plain Python values in the schema's order."""
        fields = type(self).model_fields
        return {name: plain(getattr(self, name)) for name in fields if name in self.model_fields_set}


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number, not a boolean")
    return value


Int = Annotated[int, BeforeValidator(_no_bool)]
_LARGEST = 2**62  # of anything that is counted or measured in bytes; sums of two still fit 64 bits
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=_LARGEST)]
Positive = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=_LARGEST)]
Limit = Annotated[int, BeforeValidator(_no_bool), Field(ge=-1, le=_LARGEST)]
"""A count, or -1 for "not limited" or "not used"."""
Seed = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, lt=2**64)]
LegacySeed = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, lt=2**32)]
"""What numpy's RandomState accepts."""
Real = Annotated[float, BeforeValidator(_no_bool)]
NonNegative = Annotated[float, BeforeValidator(_no_bool), Field(ge=0)]


def _number(minimum: int) -> Callable[[Any], int | float]:
    """Return a validator for an int or a finite float, also as a string; the type given is kept."""

    def validate(value: Any) -> int | float:
        number = value
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                number = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            if minimum <= number <= _LARGEST:
                return number
        raise ValueError(f"a number from {minimum} to 2**62")

    return validate


Bytes = Annotated[float, PlainValidator(_number(0))]
"""A number of bytes; DLIO allows fractions (114660.07)."""
RecordBytes = Annotated[float, PlainValidator(_number(1))]


def words(*, off: str | None = None, on: str | None = None) -> BeforeValidator:
    """Return the validator that goes before a Literal of lower-case words: any letter case is accepted.

    YAML reads the bare words ``off``, ``no``, ``on`` and ``yes`` as booleans. `off` and `on` name the
    values that those stand for; without them a boolean is an error. An empty value counts as `off`.
    """

    def normalise(value: Any) -> Any:
        if (value is False or value is None) and off is not None:
            return off
        if value is True and on is not None:
            return on
        return value.strip().lower() if isinstance(value, str) else value

    return BeforeValidator(normalise)


def _shuffle(value: Any) -> bool | str:
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, bool) or word in ("off", "global", "files", "window"):
        return word
    raise ValueError("true, false, 'off', 'global', 'files' or 'window'")


ShuffleKind = Annotated[bool | str, PlainValidator(_shuffle)]
"""As :class:`dlio_fast.Loader` takes `shuffle`."""


def one_or_many(value: Any) -> Any:
    """Let a single string stand for a list of one."""
    return (value,) if isinstance(value, str) else value


def _mapping(value: Any) -> FrozenDict:
    if not isinstance(value, Mapping):
        raise ValueError("a mapping of keys to values")
    return FrozenDict(value)


FreeMapping = Annotated[FrozenDict, PlainValidator(_mapping)]
"""A mapping whose keys belong to another library, such as fsspec's storage options."""
Free = Annotated[Any, PlainValidator(freeze)]
