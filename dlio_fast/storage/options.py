"""Options of a store: whose names are accepted, where they come from, and which of them win."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from ..config.keys import merged
from ..errors import ConfigError, MissingDependencyError
from .disk_cache import without_cache

Options = dict[str, Any]

LISTING_OPTIONS = ("listing_cache", "listing_max_age")
"""A local folder where listings are kept, and the seconds after which one no longer counts."""

_FSSPEC = (
    "use_listings_cache", "listings_expiry_time", "max_paths", "skip_instance_cache", "asynchronous", "loop",
    "batch_size",
)  # fmt: skip

OWN_OPTIONS = ("road", "attempts", "retry_timeout", "verify_md5")
"""dlio_fast's own, of every store; see :mod:`~.patience`."""

NAMES: dict[str, tuple[str, ...]] = {
    "s3": (
        "anon", "endpoint_url", "key", "secret", "token", "username", "password", "profile", "use_ssl",
        "client_kwargs", "config_kwargs", "requester_pays", "s3_additional_kwargs", "session",
        "version_aware", "max_concurrency", *OWN_OPTIONS, *_FSSPEC,
    ),
    "az": (
        "account_name", "account_key", "connection_string", "credential", "sas_token", "client_id",
        "client_secret", "tenant_id", "anon", "account_host", "location_mode", "blocksize",
        "max_concurrency", "timeout", "connection_timeout", "read_timeout", "version_aware",
        "assume_container_exists", *OWN_OPTIONS, *_FSSPEC,
    ),
}  # fmt: skip
"""The names of s3fs's and of adlfs's options; further ones are looked up in the installed class."""

CREDENTIALS: dict[str, tuple[str, ...]] = {
    "s3": ("key", "secret", "token", "anon", "profile", "session"),
    "az": (
        "connection_string", "account_key", "sas_token", "credential", "anon", "tenant_id", "client_id",
        "client_secret",
    ),
}  # fmt: skip
"""Options that belong together: they are all taken from the first source that has one of them."""

_CLASSES = {"s3": ("s3fs", "S3FileSystem", "s3"), "az": ("adlfs", "AzureBlobFileSystem", "azure")}
_PROTOCOLS = {"s3": ("s3", "s3a"), "az": ("abfs", "az", "abfss")}

_DLIO_IGNORED = (
    "storage_library", "uri_scheme", "prefetch_window", "stagger_workers", "simulate_io", "columns",
    "row_group_cache_size", "metadata_cache", "memory_map", "file_cache",
)  # fmt: skip
"""Options of DLIO's own readers, which have no meaning here."""

_DLIO_PLACES: dict[str, tuple[str, ...]] = {
    "access_key_id": ("key",),
    "secret_access_key": ("secret",),
    "session_token": ("token",),
    "region": ("client_kwargs", "region_name"),
    "s3_force_path_style": ("config_kwargs", "s3", "addressing_style"),
    "s3_max_attempts": ("config_kwargs", "retries", "max_attempts"),
}
_S3FS_SYNONYMS: dict[str, tuple[str, ...]] = {
    "aws_access_key_id": ("key",),
    "aws_secret_access_key": ("secret",),
    "aws_session_token": ("token",),
    "endpoint_url": ("endpoint_url",),
    "use_ssl": ("use_ssl",),
}


def file_system_class(backend: str) -> type:
    """The file system of s3fs, adlfs, or the one that fsspec knows for another scheme.

    Raises
    ------
    MissingDependencyError
        Names what to install.
    """
    module, _, extra = _CLASSES.get(backend, ("fsspec", "", "s3"))
    try:
        import fsspec

        return fsspec.get_filesystem_class("abfs" if backend == "az" else backend)  # type: ignore[no-any-return]
    except ImportError as error:
        wanted = f"pip install dlio-fast[{extra}]" if backend in _CLASSES else str(error)
        raise MissingDependencyError(f"{backend}:// needs {module}: {wanted}") from error
    except ValueError as error:  # fsspec's "Protocol not known"
        raise ConfigError(f"{backend}://: neither dlio_fast nor fsspec knows this scheme") from error


def gathered_options(backend: str, explicit: Mapping[str, Any], section: Mapping[str, Any]) -> Options:
    """Merge a store's options from their sources, the first of which wins.

    Parameters
    ----------
    backend : str
        "s3", "az" or another scheme.
    explicit : mapping
        ``storage_options`` in code.
    section : mapping
        ``storage_options`` of the configuration's ``storage`` section.

    fsspec's configuration (its files and ``FSSPEC_*``) comes last. Nested options are merged key by key,
    credentials are not mixed: see :data:`CREDENTIALS`.

    Raises
    ------
    ConfigError
        An unknown name; the message has the nearest known one, and no values.
    """
    given = {name: value for name, value in section.items() if name not in _DLIO_IGNORED}
    sources = (
        _known(backend, _without_own(explicit), "storage_options"),
        _known(backend, _without_own(given), "storage.storage_options"),
        _known(backend, _of_fsspec(backend), "fsspec's configuration"),
    )
    group = CREDENTIALS.get(backend, ())
    result: Options = {}
    credentials: Options = {}
    for source in sources:
        if "anon" in group and source.get("anon") is not None:
            source["anon"] = as_bool(source["anon"], "anon")
        own = {name: source.pop(name) for name in group if source.get(name) not in (None, False)}
        credentials = credentials or own
        result = merged({name: value for name, value in source.items() if value is not None}, result)
    return {**result, **credentials}


def _without_own(options: Mapping[str, Any]) -> Options:
    """The options that are for the store's clients."""
    return {name: value for name, value in without_cache(options).items() if name not in LISTING_OPTIONS}


def _of_fsspec(backend: str) -> Options:
    try:
        from fsspec.config import conf
    except ImportError:
        return {}
    options: Options = {}
    for protocol in _PROTOCOLS.get(backend, (backend,)):
        options.update(conf.get(protocol, {}))
    return options


def _known(backend: str, options: Mapping[str, Any], source: str) -> Options:
    """The options under s3fs's or adlfs's names."""
    own: Options = {}
    for name, value in options.items():
        if backend == "s3" and name in _DLIO_PLACES:
            own = merged(own, _placed(_DLIO_PLACES[name], _of_dlio(name, value, source)))
        elif backend == "s3" and name == "client_kwargs":
            rest = dict(_mapping(value, f"{source}.{name}"))
            for other, place in _S3FS_SYNONYMS.items():
                if other in rest:
                    own = merged(_placed(place, rest.pop(other)), own)
            own = merged(own, {name: rest})
        else:
            own = merged(own, {name: value})
    if backend == "s3":
        for alias, name in (("username", "key"), ("password", "secret")):
            if own.get(alias):
                own.setdefault(name, own[alias])
            own.pop(alias, None)
        _check_nested(own, source)
    check_names(own, NAMES.get(backend, ()), source, backend)
    return own


def _placed(place: tuple[str, ...], value: Any) -> Options:
    for part in reversed(place):
        value = {part: value}
    result: Options = value
    return result


def _of_dlio(name: str, value: Any, source: str) -> Any:
    if name == "s3_force_path_style":
        return "path" if as_bool(value, f"{source}.{name}") else "virtual"
    return as_number(value, f"{source}.{name}") if name == "s3_max_attempts" else value


def _check_nested(options: Options, source: str) -> None:
    client = ("region_name", "api_version", "verify", "config", "aws_account_id")
    check_names(
        _mapping(options.get("client_kwargs"), "client_kwargs"),
        (*client, *_S3FS_SYNONYMS),
        f"{source}.client_kwargs",
    )
    config = _mapping(options.get("config_kwargs"), f"{source}.config_kwargs")
    if config:
        try:
            from botocore.config import Config
        except ImportError as error:
            raise MissingDependencyError("s3:// needs s3fs: pip install dlio-fast[s3]") from error
        names = (*Config.OPTION_DEFAULTS, "connector_args", "http_session_cls")
        check_names(config, names, f"{source}.config_kwargs")


def check_names(options: Mapping[str, Any], known: Iterable[str], source: str, backend: str = "") -> None:
    """Raise ConfigError for a name that is not known, and not a parameter of the file system's either."""
    known = tuple(known)
    unknown = [name for name in options if name not in known]
    if unknown and backend:
        known = (*known, *OWN_OPTIONS)
        parameters = inspect.signature(file_system_class(backend).__init__).parameters  # type: ignore[misc]
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        if takes_all and backend not in NAMES:
            return
        known = (*known, *(n for n in parameters if n not in ("self", "kwargs")), *_FSSPEC)
        if backend == "s3":
            known = (*known, *_DLIO_PLACES)
        unknown = [name for name in unknown if name not in known]
    if unknown:
        near = difflib.get_close_matches(str(unknown[0]), known, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(set(known)))}"
        raise ConfigError(f"{source}: unknown option {unknown[0]!r}{hint}")


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name}: must be a mapping of names to values, not {type(value).__name__}")
    return value


_WORDS = {"true": True, "1": True, "t": True, "yes": True, "on": True} | {
    "false": False, "0": False, "f": False, "no": False, "off": False, "": False,
}  # fmt: skip


def as_bool(value: Any, name: str) -> bool:
    """Read a switch, which variables and DLIO's files write as a word."""
    found = _WORDS.get(str(value).strip().lower())
    if found is None:
        raise ConfigError(f"{name}: must be true or false")
    return found


def own_timeouts(options: Mapping[str, Any]) -> Options:
    """Those of the core's client that somebody has set; its defaults are shorter than other clients'."""
    names = {"connect_timeout": "connect", "connection_timeout": "connect", "read_timeout": "read"}
    given = {name: options[name] for name in names if options.get(name) is not None}
    return {f"{names[name]}_timeout": as_number(value, name) for name, value in given.items()}


def as_number(value: Any, name: str) -> float:
    """Read a number; an integral one is returned as an int."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}: must be a number, not {type(value).__name__}") from None
    return int(number) if number.is_integer() else number
