"""The benchmark's own virtual environment, with the peers in it; remade when a requirements file changed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from bench.ground import BenchError
from bench.paths import ROOT
from bench.progress import say

FOLDER = ROOT / "var" / "bench" / "venv"
REQUIREMENTS = (ROOT / "bench" / "requirements.txt", ROOT / "requirements.txt")


def make_venv() -> Path:
    """Make the environment unless it is complete.

    Returns:
        Its Python interpreter.

    Raises:
        BenchError: pip failed; says how.
    """
    python = FOLDER / "bin" / "python"
    complete = FOLDER / ".complete"
    digest = hashlib.sha256(sys.version.encode() + b"".join(path.read_bytes() for path in REQUIREMENTS)).hexdigest()
    if python.exists() and complete.exists() and complete.read_text() == digest:
        return python
    say(f"installing the peers of {REQUIREMENTS[0].relative_to(ROOT)} in {FOLDER.relative_to(ROOT)} (about a minute)")
    _run([sys.executable, "-m", "venv", "--clear", str(FOLDER)])
    _run(
        [
            str(python),
            "-m",
            "pip",
            "install",
            "-qq",
            "--no-input",
            "--disable-pip-version-check",
            "-r",
            str(REQUIREMENTS[0]),
        ]
    )
    complete.write_text(digest)
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(
            f"{' '.join(command[:4])} … failed with code {done.returncode}:\n{(done.stderr or done.stdout)[-3_000:]}"
        )
