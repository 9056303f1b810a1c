"""From numpy's arrays to JAX's: on the CPU over the same memory, elsewhere in transfers under way ahead."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
from jax.sharding import Sharding

from ._typing import Array, Values
from .errors import ConfigError, UnsupportedError
from .pipeline import Loader, Sampler

if TYPE_CHECKING:
    from .jax import DlioJaxDataset

Shardings: TypeAlias = Sharding | Mapping[str, Sharding] | None
"""Where the fields of a batch go; None: JAX's default device."""


@dataclass
class Delivered:
    """What the consumer has got of a pass, however much is under way."""

    batches: int | None = 0
    """As the loader counts them; None once the consumer was told that there are no more."""


class DeviceIterator(Iterator[Any]):
    """One pass over a data set's batches as jax.Arrays; made by :meth:`DlioJaxDataset.device_iter`.

    Threads may share it: each batch goes to one of them.

    Parameters
    ----------
    dataset : DlioJaxDataset
    shardings : Sharding, a mapping of fields to such, or None
    depth : int
        Batches whose transfers are begun ahead of the consumer.
    """

    def __init__(self, dataset: DlioJaxDataset, shardings: Shardings, depth: int):
        self.delivered = Delivered()
        self._names, self._pack = dataset.names, dataset.pack
        self._shardings = shardings
        self._depth = depth
        self._batches = iter(dataset.loader)
        if any(not each.is_fully_addressable for each in _each(shardings)):
            _check_alike(dataset.loader, self._batches.progress.sampler)
        _keep_memory(dataset.loader, depth)
        self._ahead: deque[tuple[Any, int]] = deque()
        self._at_end = False
        self._taking = threading.Lock()

    def __next__(self) -> Any:
        with self._taking:
            while len(self._ahead) <= self._depth and not self._at_end:
                self._fetch()
            if not self._ahead:
                self.delivered.batches = None
                raise StopIteration
            batch, self.delivered.batches = self._ahead.popleft()
        if isinstance(batch, Exception):
            raise batch
        return batch

    def _fetch(self) -> None:
        """Take the next batch, or what goes wrong with it, and begin its transfer."""
        progress = self._batches.progress
        delivered = progress.delivered
        try:
            fields = next(self._batches)
            batch: Any = self._pack([_placed(name, fields[name], self._shardings) for name in self._names])
            delivered = progress.delivered
        except StopIteration:
            self._at_end = True
            return
        except Exception as error:
            batch = error
        self._ahead.append((batch, delivered))

    def close(self) -> None:
        """End the pass; arrays already delivered stay valid."""
        self._batches.close()  # ends the wait of a thread that holds the lock
        with self._taking:
            self._ahead.clear()


def _each(shardings: Shardings) -> list[Sharding]:
    if isinstance(shardings, Mapping):
        return list(shardings.values())
    return [] if shardings is None else [shardings]


def _check_alike(loader: Loader, sampler: Sampler) -> None:
    """Refuse a pass whose batches differ in length between ranks: JAX would wait for ever, or worse."""
    if loader.on_error == "skip":
        raise ConfigError(
            "a sharding over several processes needs the same batches on each, so on_error='skip' must not "
            "leave samples out on one of them"
        )
    most, least = (len(replace(sampler, rank=rank)) for rank in (0, sampler.world_size - 1))
    if most != least:
        raise ConfigError(
            f"a sharding over several processes needs equally many samples on each, and {sampler.n} over "
            f"{sampler.world_size} are not: use drop_last=True or pad=True"
        )


def _keep_memory(loader: Loader, depth: int) -> None:
    """Let the pool keep what the consumer and the transfers hold, or each batch would get fresh memory.

    Beside the batches ahead these are the consumer's last and next one, and two that JAX gives back late:
    it drops its references to arrays of Python's when it is called the next time.
    """
    if len(loader):
        plan, pool = loader.resources()
        batch_bytes = plan.batch_bytes(loader.batch_size) or loader.batch_bytes
        pool.set_keep(loader.prefetch_bytes + (depth + 4) * batch_bytes)


def native(value: Values) -> Any:
    """Return a field of a batch in native byte order; its elements are swapped in place."""
    if isinstance(value, list):
        return [native(array) for array in value]
    if value.dtype.isnative:
        return value
    return value.byteswap(inplace=True).view(value.dtype.newbyteorder("="))


def _placed(name: str, value: Values, shardings: Shardings) -> Any:
    """Begin the transfer of a field to where it belongs; on the CPU the result may lie in the same memory."""
    sharding = shardings.get(name) if isinstance(shardings, Mapping) else shardings
    if not isinstance(value, list):
        return _put(name, native(value), sharding)
    if sharding is not None and len(sharding.device_set) > 1:
        raise ConfigError(f"field {name!r}: samples that differ in shape cannot be split over {sharding}")
    return [_put(name, native(array), sharding) for array in value]


def _put(name: str, array: Array, sharding: Sharding | None) -> Any:
    dtype = array.dtype
    if dtype.kind not in "biufc" or dtype.char in "gG":
        raise UnsupportedError(
            f"field {name!r} has dtype {dtype}, which JAX lacks: name other fields, or iterate over the data "
            f"set itself, which yields numpy arrays",
            member=name,
        )
    try:
        if sharding is None or sharding.is_fully_addressable:
            return jax.device_put(array, sharding)
        put_together: Any = jax.make_array_from_process_local_data
        return put_together(sharding, array)
    except ValueError as error:
        raise ConfigError(
            f"field {name!r}: a batch of shape {array.shape} cannot be split over {sharding}; use a "
            f"batch_size that the devices divide, and drop_last=True where the last batch is short (or pad "
            f"the numpy batches yourself)"
        ) from error
