"""The bundled workloads: YAML files in DLIO's own layout."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from ..errors import ConfigError

SUFFIXES = (".yaml", ".yml", ".json")


def bundled_dir() -> Path:
    """Return the folder of the bundled files: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the configurations in a folder by name; ``workload/NAME.yaml`` is preferred to ``NAME.yaml``."""
    found: dict[str, Path] = {}
    for place in (folder, folder / "workload"):
        if place.is_dir():
            found |= {path.stem: path for path in sorted(place.iterdir()) if path.suffix in SUFFIXES}
    return found


def find_workload(name: str, config_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the file of a workload: ``workload/NAME.yaml`` or ``NAME.yaml`` in `config_dir`, else bundled.

    Raises
    ------
    ConfigError
        `config_dir` is not a folder, or there is no such workload; the nearest names are given.
    """
    names: dict[str, Path] = _by_name(bundled_dir())
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError(f"no folder {str(config_dir)!r} to take workloads from")
        names |= _by_name(Path(config_dir))
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise ConfigError(f"no workload {name!r}{hint} (`dlio-fast workloads` lists them; a file needs its path)")


def list_workloads() -> list[tuple[str, str]]:
    """Return the name of each bundled workload and the one line that describes it, sorted by name."""
    return sorted((name, _summary(path)) for name, path in _by_name(bundled_dir()).items())


def _summary(path: Path) -> str:
    with path.open(encoding="utf-8") as lines:
        first = lines.readline()
    return first.removeprefix("#").strip() if first.startswith("#") else ""
