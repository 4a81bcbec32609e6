"""Finding the agents of an installation."""

from __future__ import annotations

from importlib import import_module

from django.utils.module_loading import autodiscover_modules

from messaging.conf import get_settings
from messaging.core.errors import ConfigurationError


def load_agents() -> None:
    """Import every module that registers agents: ``nexus_agents`` of each installed app, and ``NEXUS["AGENTS"]``.

    Raises:
        ConfigurationError: a module cannot be found, a name is taken, or an agent cannot be run as it is written.
    """
    autodiscover_modules("nexus_agents")
    for module in get_settings().agents.split(","):
        if module.strip():
            _load(module.strip())


def _load(module: str) -> None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it was found; what it imports was not
        raise ConfigurationError(
            f"NEXUS_AGENTS names the module {module!r}, which cannot be found. Correct the name, or add its folder to "
            "PYTHONPATH."
        ) from None
