"""Settings from the environment (12-factor). Without any variable set this is the embedded mode: SQLite under ``var/``.

Every variable is described in docs/configuration.md.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import dj_database_url

from messaging.brokers import kind_of
from messaging.celery import TASK_QUEUE
from messaging.core.database_options import configure_postgres
from messaging.django_settings import OPTIONS, configure, environment_settings

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str, default: bool) -> bool:
    return os.environ.get(name, str(default)).strip().lower() in {"1", "true", "yes", "on"}


def _list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


DATA_DIR = Path(os.environ.get("NEXUS_DATA_DIR", BASE_DIR / "var"))
DATA_DIR.mkdir(parents=True, exist_ok=True)

DEFAULT_SECRET_KEY = "embedded-mode-only-set-SECRET_KEY-in-production"  # noqa: S105  # nosec B105  # refused elsewhere (E007)
SECRET_KEY = os.environ.get("SECRET_KEY", DEFAULT_SECRET_KEY)
DEBUG = _flag("DEBUG", False)
ALLOWED_HOSTS = _list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],testserver")
CSRF_TRUSTED_ORIGINS = _list("CSRF_TRUSTED_ORIGINS")

NEXUS_APPS = _list("NEXUS_APPS")
INSTALLED_APPS = [
    "messaging.apps.MessagingConfig",
    "agents.apps.AgentsConfig",
    "nexus_api.apps.NexusApiConfig",
    "nexus_live.apps.NexusLiveConfig",
    "nexus_a2a.apps.NexusA2AConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_results",
    "csp",
    "axes",
    *NEXUS_APPS,
]
MIDDLEWARE = [
    "messaging.web.liveness.LivenessMiddleware",
    "messaging.web.request_ids.RequestIdMiddleware",
    "messaging.web.tracing.TracingMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "axes.middleware.AxesMiddleware",  # last, as its documentation asks
]
ROOT_URLCONF = "nexus_site.urls"
WSGI_APPLICATION = "nexus_site.wsgi.application"
ASGI_APPLICATION = "nexus_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- database ---------------------------------------------------------------------------------------------------------
DATABASE_URL = os.environ.get("DATABASE_URL") or f"sqlite:///{DATA_DIR / 'nexus.sqlite3'}"
DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_max_age=600, conn_health_checks=True)}
_database = DATABASES["default"]
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["CONN_HEALTH_CHECKS"] = False
else:
    configure_postgres(_database, os.environ.get("DATABASE_POOLING") or "none")
# DATABASE_URL_<ALIAS>: further databases, such as the participants of two-phase commits.
for _name, _url in os.environ.items():
    if _name.startswith("DATABASE_URL_") and _url:
        _further = dj_database_url.parse(_url)
        _further["OPTIONS"] = {**OPTIONS.get(_further["ENGINE"], {}), **_further.get("OPTIONS", {})}
        DATABASES[_name.removeprefix("DATABASE_URL_").lower()] = _further
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Nexus ------------------------------------------------------------------------------------------------------------
BROKER_URL = os.environ.get("BROKER_URL", "")
_kind = kind_of(BROKER_URL)
EMBEDDED = not BROKER_URL or (_kind is not None and not _kind.needs_server)
# NEXUS_<NAME>=value in the environment sets NEXUS["<NAME>"]; names, types and defaults are in messaging/conf.py.
NEXUS = {**environment_settings(os.environ, leave_out={"NEXUS_APPS", "NEXUS_LOG_FORMAT"}), "DATA_DIR": str(DATA_DIR)}

# --- Celery: operators' tasks; messages have their own queues and are consumed by the worker's consumer step.
# The broker, and what both need to be safe, are set by messaging.celery.install().
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_ACKS_ON_FAILURE_OR_TIMEOUT = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("NEXUS_QUEUE_PREFIX", "") + TASK_QUEUE
CELERY_RESULT_EXTENDED = True
CELERY_TASK_TRACK_STARTED = True
CELERY_RESULT_EXPIRES = 7 * 24 * 3600
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_DB_REUSE_MAX = 1000
CELERY_TASK_SERIALIZER = "json"
CELERY_TIMEZONE = "UTC"

# --- cache ------------------------------------------------------------------------------------------------------------
REDIS_URL = os.environ.get("REDIS_URL", "")
if REDIS_URL:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

# --- the rest ---------------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = "nexus_site.formats"  # one way to write a time, on every page
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # WhiteNoise warns when it is missing
WHITENOISE_USE_FINDERS = True
LOGIN_URL = "admin:login"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _flag("SECURE_COOKIES", not EMBEDDED and not DEBUG)
SECURE_SSL_REDIRECT = _flag("SECURE_SSL_REDIRECT", False)
SECURE_HSTS_SECONDS = int(os.environ.get("SECURE_HSTS_SECONDS", "0"))
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _flag("SECURE_HSTS_SUBDOMAINS", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _flag("BEHIND_PROXY", False) else None
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
CSRF_COOKIE_HTTPONLY = True
# No script, style or frame but the site's own files: text that became markup could still do nothing.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
# Guessing passwords: so many failures of one user from one address close the log-in for a while. Counted in the
# database, so that all web processes count together.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = int(os.environ.get("LOGIN_FAILURE_LIMIT", "10"))
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
# Mail, for NEXUS_ALERT_MAIL.
EMAIL_HOST = os.environ.get("EMAIL_HOST", "localhost")
EMAIL_PORT = int(os.environ.get("EMAIL_PORT", "25"))
EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = _flag("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL", "nexus@localhost")
LOG_FORMAT = "json" if os.environ.get("NEXUS_LOG_FORMAT") == "json" else "plain"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": "messaging.core.log_lines.OneLineFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s: %(in_request)s%(message)s",
        },
        **({"json": {"()": "messaging.core.json_lines.JsonFormatter"}} if LOG_FORMAT == "json" else {}),
    },
    "filters": {"request": {"()": "messaging.core.request_ids.RequestIdFilter"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": LOG_FORMAT,
            "filters": ["request"],
            "stream": sys.stderr,
        }
    },
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {"amqp": {"level": "WARNING"}, "kombu": {"level": "WARNING"}, "axes": {"level": "WARNING"}},
}

configure(globals())
