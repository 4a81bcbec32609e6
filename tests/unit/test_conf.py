"""Settings are checked when they are read; errors say what was expected and what may have been meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from messaging.brokers import EmbeddedBroker, create_broker
from messaging.conf import load
from messaging.core.errors import ConfigurationError

URL = {"BROKER_URL": "memory://x"}


def test_values_from_the_environment_are_converted() -> None:
    settings = load({**URL, "MAX_ATTEMPTS": "7", "REDELIVERY_AFTER": "2.5"})
    assert (settings.max_attempts, settings.redelivery_after) == (7, 2.5)


def test_without_settings_it_is_the_embedded_mode_in_the_projects_folder(tmp_path: Path) -> None:
    settings = load({}, base=tmp_path / "a ü")
    broker = create_broker(settings.broker_url)
    assert isinstance(broker, EmbeddedBroker)
    with broker:
        broker.initialize()
    assert (tmp_path / "a ü" / "var" / "transport.sqlite3").exists()
    assert load({"DATA_DIR": "/elsewhere"}, base=tmp_path).broker_url == "embedded:///elsewhere/transport.sqlite3"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({**URL, "MAX_ATEMPTS": "7"}, "MAX_ATTEMPTS"),
        ({**URL, "UTTERLY_DIFFERENT": "7"}, "Known:"),
        ({**URL, "MAX_ATTEMPTS": "many"}, "int"),
        ({**URL, "MAX_ATTEMPTS": "0"}, "above 0"),
        ({**URL, "LEASE_SECONDS": "-1"}, "above 0"),
        ({**URL, "LEASE_SECONDS": "nan"}, "above 0"),
        ({**URL, "LEASE_SECONDS": "inf"}, "LEASE_SECONDS"),
        ({**URL, "FAILURE_POLICY": "ignore"}, "park, skip"),
        ({**URL, "GAP_POLICY": "ignore"}, "resend"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load(values)
