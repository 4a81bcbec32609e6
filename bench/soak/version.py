"""Which version of the code a worker runs: what a later release might be while a file says so. For rolling deploys."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from bench.soak.names import VERSION_FILE

NEWER = "newer"
MODULE = "tests.support.newer_code"
SEEN = "NEWER_CODE_SEEN"
MIGRATION = "ALTER TABLE nexus_message ADD COLUMN IF NOT EXISTS tone varchar(20)"
"""What the newer code needs, and the older does not know."""

if Path(os.environ.get(VERSION_FILE, os.devnull)).is_file() and Path(os.environ[VERSION_FILE]).read_text() == NEWER:
    import_module(MODULE)
