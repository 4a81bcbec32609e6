"""The definitions that this process knows by name and version, for starting and for moving running sagas."""

from __future__ import annotations

from messaging.conf import get_settings
from messaging.core.errors import ConfigurationError, NameTaken
from messaging.core.registry import did_you_mean
from messaging.transactions.definition import Saga
from messaging.transactions.yaml import read_saga_file


class KnownSagas:
    """Definitions by name and version."""

    def __init__(self) -> None:
        self._sagas: dict[tuple[str, int], Saga] = {}
        self._files = ""

    def register(self, saga: Saga) -> Saga:
        """Make a definition known. Call it in a module that workers and commands load; return the definition.

        Raises:
            NameTaken: another one has that name and version.
        """
        key = (saga.name, saga.version)
        present = self._sagas.get(key)
        if present is not None and present.plan != saga.plan:
            raise NameTaken(
                f"Saga {saga.name!r}, version {saga.version}, is registered with other steps. Give it another version."
            )
        self._sagas[key] = saga
        return saga

    def require(self, name: str, version: int) -> Saga:
        """A definition.

        Raises:
            ConfigurationError: this process knows none like that, or a file of NEXUS_SAGA_FILES defines none.
        """
        self._load()
        saga = self._sagas.get((name, version))
        if saga is None:
            names = {known for known, _ in self._sagas}
            versions = ", ".join(str(number) for known, number in sorted(self._sagas) if known == name)
            raise ConfigurationError(
                f"Nobody registered version {version} of the saga {name!r}"
                + (f"; there are {versions}." if versions else f".{did_you_mean(name, names)}")
                + " Call known_sagas.register(…) in a module that NEXUS_AGENTS names, or name its file in "
                + "NEXUS_SAGA_FILES."
            )
        return saga

    def _load(self) -> None:
        """Read the files that the settings name, unless that was done."""
        files = get_settings().saga_files
        if files != self._files:
            for file in files.split(","):
                if file.strip():
                    self.register(read_saga_file(file.strip()))
            self._files = files

    def remove(self, name: str, version: int) -> None:
        """Forget a definition."""
        self._sagas.pop((name, version), None)


known_sagas = KnownSagas()
