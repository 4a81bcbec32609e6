"""Finding and reading the files of an audit. Whatever stands in a folder, nothing here raises for a single file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

MAX_BYTES = 2_000_000
"""Larger files are reported and not parsed."""

_SKIPPED = {"__pycache__", "node_modules"}


class InputError(Exception):
    """The folder cannot be audited; the message says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading one file gave.

    Args:
        size: in bytes; 0 when even that is unknown.
        sha256: of its bytes; empty when they could not be read.
        content: its bytes, or None when they could not be read.
        problem: why not, for people.
    """

    size: int
    sha256: str
    content: bytes | None
    problem: str = ""


def check_folder(folder: Path) -> None:
    """Say clearly why a folder cannot be audited.

    Raises:
        InputError: it is missing, is no folder, or has no Python file.
    """
    if not folder.exists():
        raise InputError(f"There is no folder {folder}. Give an existing one: make demo INPUT=path")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file. Give the folder it stands in: make demo INPUT={folder.parent}")
    if next(_walk(folder), None) is None:
        raise InputError(f"There is no Python file (*.py) in {folder} or below it, so there is nothing to audit.")


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if name.endswith(".py") and path.is_file() and not path.is_symlink():
                yield path


def list_files(folder: Path, limit: int) -> list[str]:
    """The keys of the Python files of a folder and below it, sorted; hidden folders and links are left out.

    A key is a path below the folder, percent-encoded: any bytes that a file system allows survive a JSON message.

    Args:
        folder: where to look.
        limit: most files to return.
    """
    return sorted(to_key(path.relative_to(folder)) for path in _walk(folder))[:limit]


def read_file(path: Path) -> Reading:
    """Read one file, or say why it cannot be read."""
    try:
        size = path.stat().st_size
    except OSError as error:
        return Reading(0, "", None, os.strerror(error.errno or 0))
    if size > MAX_BYTES:
        return Reading(size, "", None, f"larger than {MAX_BYTES:,} bytes")
    try:
        content = path.read_bytes()
    except OSError as error:
        return Reading(size, "", None, os.strerror(error.errno or 0))
    return Reading(len(content), digest(content), content)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def to_key(path: Path) -> str:
    """A relative path as a key."""
    return quote_from_bytes(os.fsencode(path.as_posix()), safe="/ ()+,-.=@_~")


def to_path(folder: Path, key: str) -> Path:
    """The path of a key."""
    return folder / os.fsdecode(unquote_to_bytes(key))


def to_label(key: str) -> str:
    """A key for people; bytes that are no text show as ``\\xNN``."""
    return unquote_to_bytes(key).decode("utf-8", "backslashreplace")
