"""Virtual environments for packages that cannot stand beside the project's, such as the benchmark's peers.

One is remade when a requirements file changed.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.ground import BenchError
from bench.paths import ROOT
from bench.progress import say

FOLDER = ROOT / "var" / "bench" / "venv"
REQUIREMENTS = (ROOT / "bench" / "requirements.txt", ROOT / "requirements.txt")


def make_venv(folder: Path = FOLDER, requirements: Sequence[Path] = REQUIREMENTS) -> Path:
    """Make an environment unless it is complete.

    Args:
        folder: where.
        requirements: the first is installed; the others are those that it includes.

    Returns:
        Its Python interpreter.

    Raises:
        BenchError: pip failed; says how.
    """
    python = folder / "bin" / "python"
    complete = folder / ".complete"
    digest = hashlib.sha256(sys.version.encode() + b"".join(path.read_bytes() for path in requirements)).hexdigest()
    if python.exists() and complete.exists() and complete.read_text() == digest:
        return python
    say(f"installing {requirements[0].relative_to(ROOT)} in {folder.relative_to(ROOT)} (up to a minute)")
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
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
            str(requirements[0]),
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
