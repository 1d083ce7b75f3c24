"""
Write the dashboards that Grafana imports, from their source in this folder.

With ``--check`` nothing is written: the stale files are named, and the exit code is 1 if
there is one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.source.audit import AUDIT
from grafana.source.health import HEALTH
from grafana.source.overview import OVERVIEW
from grafana.source.repository import ONE_REPOSITORY

FOLDER = Path(__file__).parent.parent
DASHBOARDS = {
    "overview.json": OVERVIEW,
    "repository.json": ONE_REPOSITORY,
    "audit.json": AUDIT,
    "exporter.json": HEALTH,
}


def texts() -> dict[str, str]:
    """
    What each file should hold, by its name.
    """
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {name: f"{encoder.encode(made)}\n" for name, made in DASHBOARDS.items()}


def stale(folder: Path = FOLDER) -> dict[str, str]:
    """
    What has to be written again.
    """
    return {
        name: text
        for name, text in texts().items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    }


def main() -> int:
    """
    Write what is stale, or name it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name stale files")
    check = parser.parse_args().check
    to_write = stale()
    for name, text in to_write.items():
        print(f"grafana/{name} is stale: run make docs" if check else f"grafana/{name}")
        if not check:
            (FOLDER / name).write_text(text)
    return int(check and bool(to_write))


if __name__ == "__main__":
    sys.exit(main())
