#!/usr/bin/env python
"""Compare pinned and installed versions with scripts/advisories.json. Needs no network.

Usage: check_advisories.py [FILE …]      without files: the requirement files of the checkout, and what is installed
Ends with 1 when a version is affected, and 2 when a file cannot be read. The list is kept by hand: complete it from
osv.dev or the GitHub Advisory Database with every upgrade. Ranges: PEP 440, several joined by " || ".
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
PINNED = ("requirements.txt", "requirements.lock", "requirements-extras.txt", "requirements-dev.txt")
_pin = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;#\\]+)").match


def pins(file: Path) -> Iterator[tuple[str, str, str]]:
    """(where, package, version) of a requirement file."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if found := _pin(line):
            yield f"{file.name}:{number}", found[1], found[2]


def installed() -> Iterator[tuple[str, str, str]]:
    """(where, package, version) of what this Python has."""
    for distribution in importlib.metadata.distributions():
        if distribution.metadata["Name"] not in ("pip", "setuptools"):  # Python's own venv brings them
            yield "installed", distribution.metadata["Name"], distribution.version


def affected(versions: Iterator[tuple[str, str, str]], advisories: list[dict[str, str]]) -> Iterator[str]:
    """A line for each version that an advisory names."""
    by_package: dict[str, list[dict[str, str]]] = {}
    for advisory in advisories:
        by_package.setdefault(canonicalize_name(advisory["package"]), []).append(advisory)
    for where, package, version in versions:
        for advisory in by_package.get(canonicalize_name(package), ()):
            try:
                found = Version(version)
            except InvalidVersion:
                continue
            if any(SpecifierSet(part).contains(found, prereleases=True) for part in advisory["affected"].split("||")):
                yield f"{where}: {package} {version}: {advisory['id']}: {advisory['summary']} ({advisory['affected']})"


def main(arguments: list[str]) -> int:
    try:
        advisories = json.loads((ROOT / "scripts" / "advisories.json").read_text(encoding="utf-8"))
        files = [Path(name) for name in arguments] or [ROOT / name for name in PINNED]
        versions = [pin for file in files for pin in pins(file)]
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    found = list(affected(iter([*versions, *([] if arguments else installed())]), advisories))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
