"""Where the corpora are looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from messaging.testing.servers.processes import Supervised
from tests.support.paths import ROOT


@pytest.mark.whole
@pytest.mark.slow
def test_nexus_corpora_names_the_folder(tmp_path: Path, project_environment: dict[str, str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "test_it.py").write_text(
        "from tests.support.corpora import find_corpus\n"
        f"def test_it():\n    assert str(find_corpus('mine')) == {str(tmp_path / 'mine')!r}\n"
    )
    run = Supervised(
        [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pytest.ini"), str(tmp_path / "test_it.py")],
        log_file=tmp_path / "pytest.log",
        environment={**project_environment, "NEXUS_CORPORA": str(tmp_path)},
    )
    run.start()
    try:
        assert run.wait(60) == 0, (tmp_path / "pytest.log").read_text()
    finally:
        run.stop()
