"""
What botocore knows of the services, read in a third of the time.

botocore looks through the folders of its 400 services to see whether S3 is one of them, and
keeps what it reads in OrderedDicts. That is a twentieth of a start, and 4 MiB.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from botocore.loaders import JSONFileLoader, Loader
from msgspec.json import decode

_OPENERS: Mapping[str, Callable[..., Any]] = {".json": open, ".json.gz": gzip.open}


class _Files(JSONFileLoader):
    """
    Files of JSON as plain dicts.
    """

    def load_file(self, file_path: str) -> Any:
        """
        What a file says whose path lacks its suffix; None where there is no such file.
        """
        for suffix, opener in _OPENERS.items():
            try:
                with opener(f"{file_path}{suffix}", "rb") as file:
                    return decode(file.read())
            except FileNotFoundError:
                continue
        return None


class Models(Loader):
    """
    A loader of botocore's models, from the folders of its own one.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        super().__init__(list(folders), _Files(), include_default_search_paths=False)

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's
        """
        All that may be services; one that is none is noticed when its model is not found.
        """
        folders = filter(Path.is_dir, map(Path, self.search_paths))
        return [each.name for folder in folders for each in folder.iterdir()]
