"""The kinds of plugins, and which distribution to install for the names that perscache knows."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Kind(Enum):
    """What a plugin can provide. The value ends the name of the entry point group, and of the hook."""

    SERIALIZER = "serializers"
    STORAGE = "storages"
    FINGERPRINT = "fingerprints"
    OBSERVER = "observers"

    @property
    def group(self) -> str:
        """The entry point group, ``perscache.serializers``."""
        return f"perscache.{self.value}"

    @property
    def hook(self) -> str:
        """The hook that gives the things themselves, ``perscache_serializers``."""
        return f"perscache_{self.value}"

    def called(self, name: str) -> str:
        """How messages speak of the thing called ``name``: the serializer 'parquet'."""
        match self:
            case Kind.STORAGE:
                return f"the storage '{name}://'"
            case Kind.FINGERPRINT:
                return f"fingerprints for '{name}'"
            case _:
                return f"the {self.value[:-1]} {name!r}"


KNOWN: Final[dict[Kind, dict[str, str]]] = {
    Kind.SERIALIZER: {
        "csv": "perscache-csv",
        "numpy": "perscache-numpy",
        "parquet": "perscache-parquet",
        "yaml": "perscache-yaml",
    },
    Kind.STORAGE: {
        "abfs": "perscache-azure",
        "abfss": "perscache-azure",
        "az": "perscache-azure",
        "dbfs": "perscache-fsspec",
        "dropbox": "perscache-fsspec",
        "fsspec": "perscache-fsspec",
        "ftp": "perscache-fsspec",
        "gcs": "perscache-gcs",
        "gdrive": "perscache-fsspec",
        "github": "perscache-fsspec",
        "gs": "perscache-gcs",
        "hdfs": "perscache-fsspec",
        "hf": "perscache-fsspec",
        "http": "perscache-fsspec",
        "https": "perscache-fsspec",
        "oci": "perscache-fsspec",
        "oss": "perscache-fsspec",
        "redis": "perscache-redis",
        "rediss": "perscache-redis",
        "s3": "perscache-s3",
        "sftp": "perscache-fsspec",
        "smb": "perscache-fsspec",
        "ssh": "perscache-fsspec",
        "unix": "perscache-redis",
        "valkey": "perscache-redis",
        "valkeys": "perscache-redis",
        "webdav": "perscache-fsspec",
        "webhdfs": "perscache-fsspec",
    },
    Kind.FINGERPRINT: {},
    Kind.OBSERVER: {},
}
"""Distributions by kind and name, so that a missing one can be named. Nothing depends on a name standing here."""
