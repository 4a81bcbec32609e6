"""The settings of a site whose tasks go through Nexus."""

from nexus_site.settings import *  # noqa: F403
from nexus_site.settings import INSTALLED_APPS as APPS

INSTALLED_APPS = [*APPS, "django_tasks", "nexus_tasks.apps.NexusTasksConfig"]
RETRY = {"max_attempts": 2, "base": 0.05, "cap": 0.05}
TASKS = {
    "default": {"BACKEND": "nexus_tasks.backend.NexusBackend", "OPTIONS": {"RETRY": RETRY}},
    "quick": {
        "BACKEND": "nexus_tasks.backend.NexusBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"KIND": "transactional", "RETRY": RETRY},
    },
}
