"""Finding the public test corpora, which are not part of the repository.

They lie in the folder that NEXUS_CORPORA names, or else in ``../shared/corpora`` beside the repository.
"""

from __future__ import annotations

import json
import os
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# Read when the plugin is loaded: for the tests it takes every NEXUS_* of the surrounding shell away.
CHOSEN = os.environ.get("NEXUS_CORPORA")
_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[3] / "shared" / "corpora"


def find_corpus(name: str) -> Path:
    """Return a corpus's folder; skip the test when the corpora are not there.

    Args:
        name: the corpus, such as ``"json-parsing"``.

    Raises:
        FileNotFoundError: NEXUS_CORPORA is set and has no such corpus, so somebody expects it to be there.
    """
    folder = Path(CHOSEN) if CHOSEN else _BESIDE_THE_REPOSITORY
    found = folder / name
    if found.is_dir():
        return found
    if CHOSEN:
        raise FileNotFoundError(f"NEXUS_CORPORA is {CHOSEN}, which has no folder {name}")
    pytest.skip(f"no corpus {name}: set NEXUS_CORPORA to the folder that holds the test corpora")


@cache
def json_parsing_cases() -> dict[str, bytes]:
    """Return JSONTestSuite's cases by name: parsers must accept ``y_…`` and refuse ``n_…``."""
    with tarfile.open(find_corpus("json-parsing") / "test_parsing_y_n.tar.gz") as archive:
        members = {Path(member.name).stem: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read() for name, file in members.items() if file is not None}


@cache
def naughty_strings() -> list[str]:
    """Return the Big List of Naughty Strings."""
    strings: list[str] = json.loads((find_corpus("naughty-strings") / "blns.json").read_bytes())
    return strings


@cache
def prompt_injections() -> list[dict[str, str]]:
    """Return CyberSecEval's prompt injections: ``user_input``, ``injection_type``, ``injection_variant`` and more."""
    attacks: list[dict[str, str]] = json.loads((find_corpus("cyberseceval") / "prompt_injection.json").read_bytes())
    return attacks


@cache
def harmless_prompts() -> list[str]:
    """Return CyberSecEval's harmless prompts that sound like security."""
    prompts = json.loads((find_corpus("cyberseceval") / "mitre_frr_first_half.json").read_bytes())
    return [str(prompt["mutated_prompt"]) for prompt in prompts]


@cache
def jose_cookbook(folder: str) -> dict[str, dict[str, Any]]:
    """Return the examples of RFC 7520 and its relatives in a folder, such as ``"jws"``, by file name."""
    found = sorted((find_corpus("jose-cookbook") / folder).glob("*.json"))
    return {file.stem: json.loads(file.read_bytes()) for file in found}
