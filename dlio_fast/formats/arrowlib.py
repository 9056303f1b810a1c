"""pyarrow, imported when something of it is first used."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, TypeAlias

from ..errors import MissingDependencyError


class Lazy(ModuleType):
    """Stands for a module of pyarrow."""

    def __getattr__(self, name: str) -> Any:
        try:
            module = importlib.import_module(self.__name__)
        except ImportError as error:
            raise MissingDependencyError(
                "Parquet and Arrow files need pyarrow: pip install dlio-fast[arrow]"
            ) from error
        value = getattr(module, name)
        setattr(self, name, value)  # not looked for again
        return value


pa: Any = Lazy("pyarrow")
pc: Any = Lazy("pyarrow.compute")
pq: Any = Lazy("pyarrow.parquet")
types: Any = Lazy("pyarrow.types")

ArrowType: TypeAlias = Any
ArrowArray: TypeAlias = Any
ArrowBuffer: TypeAlias = Any
ArrowSchema: TypeAlias = Any
ArrowTable: TypeAlias = Any
"""What pyarrow has no annotations for, by name."""
