"""Names for the types that come up everywhere."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Int64Array: TypeAlias = npt.NDArray[np.int64]

Values: TypeAlias = Array | list[Array]
"""A field of a batch: an array of shape (B, *sample shape), or B arrays where samples differ in shape."""

Fields: TypeAlias = dict[str, Values]
"""A batch."""
