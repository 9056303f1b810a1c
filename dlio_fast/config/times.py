"""Emulated durations: a constant, or a random distribution, as DLIO writes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import model_validator

from .fields import NonNegative, Real, Section, words

if TYPE_CHECKING:
    import numpy as np


class TimeSpec(Section):
    """A duration in seconds: ``1.5``, ``{mean: 1.5, stdev: 0.1}`` or ``{type: gamma, shape: 2, scale: 1}``.

    Without a `type` it is the `mean`, or a normal distribution where there is a `stdev`. The types and
    their parameters: normal (mean, stdev), uniform (min, max), gamma (shape, scale), exponential (scale),
    poisson (lam). The ``*_stdev`` key next to a duration sets `stdev` and wins over the one inside.
    """

    type: Annotated[Literal["normal", "uniform", "gamma", "exponential", "poisson"], words()] | None = None
    mean: Real | None = None
    stdev: NonNegative | None = None
    min: Real | None = None
    max: Real | None = None
    shape: NonNegative | None = None
    scale: NonNegative | None = None
    lam: NonNegative | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        if isinstance(value, (dict, TimeSpec)):
            return value
        try:
            if isinstance(value, bool) or not math.isfinite(float(value)):
                raise ValueError
        except (TypeError, ValueError):
            raise ValueError("a number of seconds, or a mapping such as {mean: 1.0, stdev: 0.1}") from None
        return {"mean": value}

    @model_validator(mode="after")
    def _has_parameters(self) -> TimeSpec:
        needed = {"normal": ("mean",), "uniform": ("min", "max"), "gamma": ("shape", "scale")}
        needed |= {"exponential": ("scale",), "poisson": ("lam",)}
        missing = [name for name in needed.get(self.type or "", ()) if getattr(self, name) is None]
        if missing:
            raise ValueError(f"type {self.type} needs {' and '.join(missing)}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not exceed max")
        return self

    def with_stdev(self, stdev: float | None) -> TimeSpec:
        """Return the same duration with another standard deviation; None keeps what there is."""
        return self if stdev is None else self.model_copy(update={"stdev": stdev})

    def to_dict(self) -> Any:
        """Return the number where it is one, else the mapping."""
        given = super().to_dict()
        return given["mean"] if given.keys() == {"mean"} else given

    @property
    def is_zero(self) -> bool:
        """True where no draw can be anything but zero."""
        return self.type is None and not self.mean and not self.stdev

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a duration in seconds; like DLIO, a negative draw counts by its absolute value."""
        # _has_parameters made sure of those that the type needs.
        if self.type == "uniform":
            value = rng.uniform(self.min or 0.0, self.max or 0.0)
        elif self.type == "gamma":
            value = rng.gamma(self.shape or 0.0, self.scale or 0.0)
        elif self.type == "exponential":
            value = rng.exponential(self.scale or 0.0)
        elif self.type == "poisson":
            value = float(rng.poisson(self.lam or 0.0))
        elif self.stdev:
            value = rng.normal(self.mean or 0.0, self.stdev)
        else:
            value = self.mean or 0.0
        return abs(value)
