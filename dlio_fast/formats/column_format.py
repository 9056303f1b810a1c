"""What Parquet and Arrow IPC files have in common as formats: columns, of which some make up a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .base import FieldSpec
from .columns import PAYLOAD_COLUMN, Columns, Kind, configured_columns, field_spec
from .decoding import DecodedFormat

if TYPE_CHECKING:
    from typing import Self

    from ..config import Config


@dataclass(frozen=True)
class ColumnFormat(DecodedFormat):
    """A format of columns.

    Parameters
    ----------
    columns : Columns
        What a configuration says of the columns.
    limit : int, optional
        Bytes that a block may take, decoded; default :func:`.columns.block_limit`.
    """

    columns: Columns = Columns()
    limit: int | None = None

    payload = PAYLOAD_COLUMN
    label = "label"

    def configured(self, config: Config) -> Self:
        section = getattr(config.dataset, self.name)
        return replace(self, columns=configured_columns(config, section.columns))

    def field(self, name: str) -> str:
        return name  # a role's column is known once a file is

    def specs(self, kinds: Mapping[str, Kind], first: Mapping[str, tuple[int, ...]]) -> tuple[FieldSpec, ...]:
        """Return the fields for columns; `first` has the shapes that only the first sample tells."""
        return tuple(
            field_spec(name, kind.dtype, self.columns.shaped(name, first.get(name, kind.shape)))
            for name, kind in kinds.items()
        )
