"""Where rules come from: Nexus, installed packages, and the apps of the project.

A package names a module under the entry point group ``nexus.verification``; an app may have a module ``nexus_rules``.
The rules of a module are those that stand in it, and those that its hook ``nexus_verification_rules`` returns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import pluggy
from django.apps import apps

from messaging.core.errors import ContentRulesError
from messaging.security.verification.rules import VerificationRule

GROUP = "nexus.verification"
APP_MODULE = "nexus_rules"
BUILTIN = "messaging.security.verification.builtin"
_MODULES = ("shape", "patterns", "injection", "traffic", "impersonation", "allowed", "claims")

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class _Hooks:
    """What a plug-in may implement."""

    @hookspec
    def nexus_verification_rules(self) -> Iterable[VerificationRule]:
        """Further rules, such as ones made in a loop."""
        raise NotImplementedError


def collect_rules(modules: Iterable[ModuleType] = (), *, entry_points: bool = True) -> dict[str, VerificationRule]:
    """Find all rules.

    Args:
        modules: further plug-ins.
        entry_points: with those of installed packages.

    Raises:
        ContentRulesError: two rules have one name, or a plug-in cannot be imported or returns no rules.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(_Hooks)
    for name in _MODULES:
        manager.register(import_module(f"{BUILTIN}.{name}"))
    try:
        if entry_points:
            manager.load_setuptools_entrypoints(GROUP)
        for module in (*_app_modules(), *modules):
            if not manager.is_registered(module):
                manager.register(module)
    except Exception as error:  # whatever importing somebody's module raises
        raise ContentRulesError(f"a plug-in of {GROUP} cannot be loaded: {type(error).__name__}: {error}") from error
    found: dict[str, VerificationRule] = {}
    for plugin in manager.get_plugins():
        for rule in [one for one in vars(plugin).values() if isinstance(one, VerificationRule)]:
            _add(found, rule)
    for answer in manager.hook.nexus_verification_rules():
        for rule in answer or ():
            if not isinstance(rule, VerificationRule):
                raise ContentRulesError(f"a plug-in of {GROUP} returned a {type(rule).__name__}, which is no rule")
            _add(found, rule)
    return dict(sorted(found.items()))


@functools.cache
def installed_rules() -> dict[str, VerificationRule]:
    """The rules of this installation, by name; found once."""
    return collect_rules()


def _add(found: dict[str, VerificationRule], rule: VerificationRule) -> None:
    if found.setdefault(rule.name, rule) is not rule:
        raise ContentRulesError(f"two rules are called {rule.name!r}; rename one")


def _app_modules() -> list[ModuleType]:
    names = [f"{config.name}.{APP_MODULE}" for config in apps.get_app_configs()]
    return [import_module(name) for name in names if find_spec(name) is not None]
