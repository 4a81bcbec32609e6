"""A folder for the demo: many small files, and some of every kind that a real folder surprises with."""

from __future__ import annotations

from pathlib import Path

PLAIN_FILES = 60


def make_folder(folder: Path) -> int:
    """Fill a folder; return how many files the demo should find in it."""
    for number in range(PLAIN_FILES):
        package = folder / f"package_{number % 4}"
        package.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"    if value == {n}:\n        return {n}\n" for n in range(number % 13))
        (package / f"module_{number:02}.py").write_text(
            f'"""Module {number}."""\n\n\ndef choose(value):  # TODO: number {number}\n{lines}    return None\n'
        )
    odd = {
        "empty.py": b"",
        "broken.py": b"def broken(:\n",
        "latin.py": "name = 'caf\u00e9'\n".encode("latin-1"),
        "declared.py": "# -*- coding: latin-1 -*-\nname = 'caf\u00e9'\n".encode("latin-1"),
        "binary.py": bytes(range(256)),
        "nul.py": b"a = 1\x00\n",
        "deep.py": b"a = " + b"(" * 5000 + b")" * 5000 + b"\n",
        "<script>alert(1)<-script>.py": b"# TODO <script>alert(2)</script>\n",
        "caf\u00e9 %41 & co.py": b"def f():\n    pass\n",
    }
    for name, content in odd.items():
        (folder / name).write_bytes(content)
    (folder / "folder.py").mkdir()
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "unseen.py").write_text("")
    (folder / "link.py").symlink_to(folder / "empty.py")
    (folder / "notes.txt").write_text("no Python")
    return PLAIN_FILES + len(odd)
