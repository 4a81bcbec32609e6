"""The public names: what `from messaging import …` and `from agents import …` give."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import pytest

APPS = pytest.mark.parametrize("app", ["messaging", "agents"])


@APPS
def test_a_star_imports_every_public_name_and_nothing_else(app: str) -> None:
    given: dict[str, Any] = {}
    exec(f"from {app} import *", given)
    del given["__builtins__"]
    api = import_module(f"{app}.api")
    assert given == {name: getattr(api, name) for name in api.__all__}


@APPS
def test_dir_names_what_is_public(app: str) -> None:
    assert set(import_module(f"{app}.api").__all__) <= set(dir(import_module(app)))


@pytest.mark.parametrize(
    ("app", "written", "meant"), [("agents", "AssistentAgent", "AssistantAgent"), ("messaging", "Envelop", "Envelope")]
)
def test_a_misspelt_name_is_put_right(app: str, written: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(import_module(app), written)
    sys.__excepthook__(AttributeError, caught.value, None)
    assert f"Did you mean: '{meant}'?" in capsys.readouterr().err


@APPS
def test_submodules_are_no_public_names(app: str) -> None:
    """Or else importing one before Django is set up would load the models."""
    module = import_module(app)
    with pytest.raises(AttributeError):
        module.__getattr__("models")
