"""What pyproject.toml says about the wheel agrees with what the checkout runs on."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import agents
import messaging
from messaging.checks import packages
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_THE_SITE = {"dj-database-url", "django-axes", "django-csp", "gunicorn", "honcho", "whitenoise"}


def pinned() -> dict[str, str]:
    """Package → version of the checkout."""
    files = [(ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", "requirements-extras.txt")]
    found = re.findall(r"^([\w-]+)(?:\[[\w,]+\])?==(\S+)", "\n".join(files), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


RANGES = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
]


@pytest.mark.parametrize("wanted", RANGES, ids=[wanted.name for wanted in RANGES])
def test_the_tested_version_is_within_the_range(wanted: Requirement) -> None:
    assert pinned()[canonicalize_name(wanted.name)] in wanted.specifier


def test_every_package_has_its_place() -> None:
    assert pinned().keys() - {canonicalize_name(wanted.name) for wanted in RANGES} == OF_THE_SITE


def test_the_name_is_the_one_that_the_packages_say() -> None:
    assert {PROJECT["name"]} == {agents.DISTRIBUTION, messaging.DISTRIBUTION, packages.DISTRIBUTION}
