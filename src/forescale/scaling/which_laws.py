"""Which laws are meant: a record, a folder, a bare laws.json, or a published name."""

from __future__ import annotations

from pathlib import Path

from forescale.base.errors import ArtifactError, ConfigError
from forescale.base.records.laws import Laws
from forescale.scaling import published


def read_laws(laws: Laws | str | Path) -> Laws:
    """Laws as a record, from whatever names them.

    Raises ConfigError (2) for a name that nobody published or what names no laws, ArtifactError (4) for a path where
    there are none or a damaged file.

    >>> read_laws("chinchilla").scale
    'N2'
    """
    if isinstance(laws, Laws):
        return laws
    if not isinstance(laws, str | Path):
        raise ConfigError(
            f"a {type(laws).__name__} is no laws",
            remedy="give what forescale.fit made, a laws folder, a laws.json, or a published name such as chinchilla",
            key="laws",
        )
    path = Path(laws)
    if path.is_dir() or path.exists() or path.suffix == ".json":
        file = path / "laws.json" if path.is_dir() else path
        record = Laws.read(file)
        if not record.any_law:
            raise ArtifactError(
                f"{file} is no file of laws: it holds none",
                why="fit writes one law at least",
                remedy="forescale fit RUNS --out DIR makes DIR/laws.json",
                file=file,
            )
        return record
    if "/" in str(laws):
        raise ArtifactError(f"there are no laws at {laws}", remedy="forescale fit RUNS --out DIR makes them", file=path)
    return published.laws(str(laws))
