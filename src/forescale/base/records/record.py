"""The base of all records: frozen, strict about names, JSON in and out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from forescale.base.errors import ArtifactError


class Record(BaseModel):
    """A frozen value with named fields. Numbers that are not finite are written as null."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, ser_json_inf_nan="null", protected_namespaces=()
    )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, ready for `json.dumps`."""
        data: dict[str, Any] = json.loads(self.model_dump_json())
        return data

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record from its JSON file; a damaged one is exit 4, with the file and what is wrong."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ArtifactError(f"{path} is missing", remedy="run the verb that makes it again", file=path) from None
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ArtifactError(
                f"{path} is not a {cls.__name__}: {first['msg']}", remedy="make it again", file=path, key=key
            ) from None

    def write(self, path: Path) -> None:
        """Write aside and rename, so that a reader never sees half a record."""
        from forescale.base.files import write_atomic

        write_atomic(path, self.model_dump_json(indent=1).encode() + b"\n")
