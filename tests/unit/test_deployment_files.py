"""The files of deploy/: settings and commands exist, they are as strict as they say, and the tools for them agree.

Tools that are not installed (docker compose, systemd-analyze, kubectl, kubernetes-validate) skip their test.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from messaging.conf import NexusSettings
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
OURS = ("web", "worker", "relay", "migrate")
"""The services that are made of our image."""
OTHERS = {"DJANGO_SETTINGS_MODULE", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
"""Variables of Python and Django."""
PROGRAMS = {"gunicorn", "celery", "python"}
STOPPING = 5.0 + 15.0
"""Seconds beside NEXUS_DRAIN_TIMEOUT until a worker is killed: its threads are joined, Celery ends."""


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


def manifests() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def pods() -> dict[str, dict[str, Any]]:
    """The pods by name: of Deployments and Jobs."""
    found = (one for one in manifests() if one["kind"] in ("Deployment", "Job"))
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in found}


def unit(path: Path) -> dict[str, list[str]]:
    """A unit's settings, each with its values in order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def variables() -> dict[str, set[str]]:
    """The environment's variables that each of the ways to deploy sets for our processes."""
    services = compose()["services"]
    units = [unit(path) for path in UNITS]
    example = (DEPLOY / "systemd" / "nexus.env.example").read_text(encoding="utf-8")
    objects = list(manifests())
    image = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
    return {
        "docker": set(re.findall(r"^(?:ENV|   ) ([A-Z_]+)=", image, re.MULTILINE)),
        "compose": {name for service in OURS for name in services[service]["environment"]},
        "systemd": {
            *re.findall(r"^([A-Z_]+)=", example, re.MULTILINE),
            *(word.partition("=")[0] for one in units for line in one["Environment"] for word in line.split()),
        },
        "kubernetes": {
            *(name for one in objects if one["kind"] == "ConfigMap" for name in one["data"]),
            *(name for one in objects if one["kind"] == "Secret" for name in one["stringData"] if name != "host"),
        },
    }


def commands() -> list[tuple[str, list[str]]]:
    """(where, command) of everything that our image or checkout is told to run."""
    services, image = compose()["services"], (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
    found = [(f"compose {name}", services[name].get("command")) for name in OURS]
    found += [(f"kubernetes {name}", pod["containers"][0].get("command")) for name, pod in pods().items()]
    found += [(path.name, unit(path)["ExecStart"][0].split()) for path in UNITS]
    found += [("Dockerfile", yaml.safe_load(re.findall(r"^CMD (\[.*\])$", image, re.MULTILINE)[-1]))]
    return [(where, command) for where, command in found if command is not None]


def seconds(text: str | int) -> float:
    return float(str(text).removesuffix("s"))


# --- all of them ---


@pytest.mark.parametrize("way", sorted(variables()))
def test_every_variable_is_a_setting_that_is_documented(way: str) -> None:
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    used = variables()[way] - OTHERS
    assert len(used) >= (1 if way == "docker" else 12)
    assert {name for name in used if f"`{name}`" not in written} == set()


def test_all_are_as_strict() -> None:
    """`check --deploy` is run with one of them (tests/acceptance/test_deployments.py)."""
    services, objects = compose()["services"], list(manifests())
    example = (DEPLOY / "systemd" / "nexus.env.example").read_text(encoding="utf-8")
    strict = {"BEHIND_PROXY", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "SECURE_HSTS_SUBDOMAINS", "NEXUS_METRICS"}
    ways = [
        services["web"]["environment"],
        next(one for one in objects if one["kind"] == "ConfigMap")["data"],
        dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE)),
    ]
    chosen = [{name: way[name] for name in strict} for way in ways]
    assert chosen[0] == chosen[1] == chosen[2]
    assert not any({"DEBUG", "SECURE_COOKIES", "NEXUS_SIGNING"} & set(way) for way in ways)


def test_every_command_exists() -> None:
    known = get_commands()
    assert len(commands()) == 4 + 3 + 4 - 1 + 1  # the image's own command is web's in compose and Kubernetes
    for where, (program, *arguments) in commands():
        name = Path(program).name
        assert name in PROGRAMS, where
        assert (Path(sys.prefix) / "bin" / name).exists(), where
        if name == "python":
            assert arguments[0] == "manage.py", where
            assert arguments[1] in known, where
        else:
            assert ("nexus_site.wsgi" if name == "gunicorn" else "nexus_site") in arguments, where


def test_workers_are_killed_later_than_they_may_drain() -> None:
    services = compose()["services"]
    settings = next(one for one in manifests() if one["kind"] == "ConfigMap")["data"]
    example = (DEPLOY / "systemd" / "nexus.env.example").read_text(encoding="utf-8")
    drain = re.findall(r"^NEXUS_DRAIN_TIMEOUT=(\d+)$", example, re.MULTILINE)
    worker = DEPLOY / "systemd" / "nexus-worker@.service"
    for may, until in (
        (services["worker"]["environment"]["NEXUS_DRAIN_TIMEOUT"], services["worker"]["stop_grace_period"]),
        (settings["NEXUS_DRAIN_TIMEOUT"], pods()["worker"]["terminationGracePeriodSeconds"]),
        (drain[0], unit(worker)["TimeoutStopSec"][0]),
        (NexusSettings().drain_timeout, unit(worker)["TimeoutStopSec"][0]),
    ):
        assert seconds(until) > seconds(str(may)) + STOPPING


def test_there_is_no_secret() -> None:
    """Passwords are asked for, or PASSWORD; keys are empty."""
    for path in (path for path in DEPLOY.rglob("*") if path.is_file()):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"://[\w-]+:(?!\$\{|PASSWORD@|password@)[^@\s]+@", text) == [], path
        found = re.findall(r"^\s*(\w*(?:SECRET|MASTER|TOKEN|PASSWORD)\w*)[=:] *(\S*)", text, re.MULTILINE)
        given = {name: value for name, value in found if value.strip("\"'") and not value.startswith(("${", "…"))}
        assert given == {}, path


# --- the image ---


def test_the_image_is_of_two_stages_has_no_root_and_what_it_copies_exists() -> None:
    lines = re.sub(r"\\\n\s*", "", (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")).splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    named = [name for name, _ in instructions]
    assert named.count("FROM") == 2
    last_stage = instructions[len(named) - 1 - named[::-1].index("FROM") :]
    assert [value for name, value in last_stage if name == "USER"] == ["10001:10001"]
    assert "/health/live" in next(value for name, value in last_stage if name == "HEALTHCHECK")
    assert not any(
        word in value for name, value in instructions if name in ("ARG", "ENV") for word in ("SECRET", "KEY")
    )
    copied = {
        source
        for name, value in instructions
        if name == "COPY" and "--from" not in value
        for source in value.split()[:-1]
    }
    assert {source for source in copied if not (ROOT / source).exists()} == set()
    # What the builder gets: that, and nothing else.
    ignored = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied
    packages = {path.parent.name for path in ROOT.glob("*/apps.py")} | {"nexus_site"}
    assert packages <= copied


# --- compose ---


def test_what_compose_is_to_be_told_stands_in_its_example() -> None:
    asked = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text(encoding="utf-8")))
    example = (COMPOSE.parent / "env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=", example, re.MULTILINE)) == asked


def test_the_services_of_compose() -> None:
    services = compose()["services"]
    assert set(services) == {*OURS, "postgres", "rabbitmq", "rabbitmq-roles", "redis"}
    for name in OURS:
        one = services[name]
        assert one["read_only"]
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert set(one["depends_on"]) <= set(services)
    users = {name: re.findall(r"//([\w-]+):", services[name]["environment"]["DATABASE_URL"])[0] for name in OURS}
    assert users == {"web": "nexus_app", "worker": "nexus_app", "relay": "nexus_app", "migrate": "nexus_owner"}
    assert "amqp://nexus-web:" in services["web"]["environment"]["BROKER_URL"]
    assert all(port.startswith("127.0.0.1:") for one in services.values() for port in one.get("ports", []))
    mounted = [source.partition(":")[0] for one in services.values() for source in one.get("volumes", [])]
    assert [source for source in mounted if source.startswith(".") and not (COMPOSE.parent / source).exists()] == []
    volumes = {source for source in mounted if not source.startswith(".")}
    assert volumes == set(compose()["volumes"])


def test_compose_reads_it(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, timeout=30).returncode:
        pytest.skip("docker compose is not installed")
    example = (COMPOSE.parent / "env.example").read_text(encoding="utf-8")
    written = tmp_path / "env"
    written.write_text(re.sub(r"=$", "=something", example, flags=re.MULTILINE))
    command = [docker, "compose", "--file", str(COMPOSE), "--env-file", str(written), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# --- systemd ---

HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "StateDirectory": "nexus",
    "User": "nexus",
    "CapabilityBoundingSet": "",
}


@pytest.mark.parametrize("path", UNITS, ids=[path.name for path in UNITS])
def test_units_are_hardened_and_come_back(path: Path) -> None:
    one = unit(path)
    assert {name: one[name][0] for name in HARDENED} == HARDENED
    assert {"postgresql.service", "rabbitmq-server.service", "network-online.target"} <= set(one["After"][0].split())
    if path.name == "nexus-migrate.service":
        assert one["Type"] == ["oneshot"]
        return
    assert one["Restart"] == ["always"]
    assert one["StartLimitIntervalSec"] == ["0"]
    assert one["WantedBy"] == one["PartOf"] == ["nexus.target"]
    assert "nexus-migrate.service" in one["After"][0].split()


@pytest.fixture
def units_of_this_checkout(tmp_path: Path) -> list[Path]:
    """The units, with the programs of this Python instead of those in /opt, and templates as instances."""
    written = []
    for path in [*UNITS, DEPLOY / "systemd" / "nexus.target"]:
        text = path.read_text(encoding="utf-8").replace("/opt/nexus/.venv", sys.prefix).replace("/opt/nexus", str(ROOT))
        names = [path.name, path.name.replace("@.", "@1.")]
        for name in names:
            (tmp_path / name).write_text(text)
        written.append(tmp_path / names[-1])
    return written


def test_systemd_takes_the_units(units_of_this_checkout: list[Path]) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
    found = [str(path) for path in units_of_this_checkout]
    done = subprocess.run([analyze, "verify", "--man=no", *found], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    services = [path for path in found if path.endswith(".service")]
    command = [analyze, "security", "--offline=true", "--threshold=20", *services]  # in tenths: 2.0 of 10
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr


# --- Kubernetes ---


def test_the_objects_of_kubernetes() -> None:
    kinds = [one["kind"] for one in manifests()]
    assert kinds.count("Deployment") == kinds.count("PodDisruptionBudget") == 3
    assert {"Job", "NetworkPolicy", "ScaledObject", "TriggerAuthentication", "Service", "ConfigMap"} <= set(kinds)
    secrets = {one["metadata"]["name"] for one in manifests() if one["kind"] == "Secret"}
    for name, pod in pods().items():
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        assert not container["securityContext"]["allowPrivilegeEscalation"], name
        assert {one["secretRef"]["name"] for one in container["envFrom"] if "secretRef" in one} <= secrets
        assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in manifests()
        if one["kind"] == "Deployment"
    }
    for one in manifests():
        if one["kind"] == "PodDisruptionBudget":
            assert one["spec"]["selector"]["matchLabels"] == labels[one["metadata"]["name"]]


def test_the_probes_ask_what_there_is(client: Any) -> None:
    """As the kubelet asks: by address and over plain HTTP, with the headers of the probe."""
    (container,) = pods()["web"]["containers"]
    settings = next(one for one in manifests() if one["kind"] == "ConfigMap")["data"]
    assert "localhost" in settings["ALLOWED_HOSTS"].split(",")
    for name, path in (("livenessProbe", "/health/live"), ("startupProbe", "/health/live")):
        assert container[name]["httpGet"]["path"] == path
    assert client.get("/health/live", headers={"host": "10.1.2.3"}).status_code == 200
    probe = container["readinessProbe"]["httpGet"]
    assert probe["path"] == "/health/ready"
    assert {one["name"]: one["value"] for one in probe["httpHeaders"]} == {
        "Host": "localhost",
        "X-Forwarded-Proto": "https",
    }


def test_workers_are_scaled_by_queues_that_exist() -> None:
    from messaging.brokers.topology import LEASED_QUEUE, TRANSACTIONAL_QUEUE

    scaled = next(one for one in manifests() if one["kind"] == "ScaledObject")["spec"]
    assert scaled["scaleTargetRef"]["name"] in pods()
    assert scaled["minReplicaCount"] >= 1
    assert {one["metadata"]["queueName"] for one in scaled["triggers"]} == {TRANSACTIONAL_QUEUE, LEASED_QUEUE}
    authentication = next(one for one in manifests() if one["kind"] == "TriggerAuthentication")["metadata"]["name"]
    assert {one["authenticationRef"]["name"] for one in scaled["triggers"]} == {authentication}


def test_manifests_follow_their_schemas() -> None:
    if find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate is not installed (requirements-dev.txt)")
    import kubernetes_validate

    own = {"ScaledObject", "TriggerAuthentication", "Kustomization"}  # not of Kubernetes itself
    checked = [one for one in manifests() if one["kind"] not in own]
    for one in checked:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
    assert len(checked) > 15


def test_kustomize_builds_them() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", DEPLOY / "kubernetes"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == 14
    assert all(one["metadata"].get("namespace") == "nexus" for one in built if one["kind"] != "Namespace")


# --- the runbook ---


def test_the_runbook_lists_its_chapters_and_explains_each_part_of_health() -> None:
    from messaging.observing.system import system

    runbook = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    contents = runbook.partition("\n## ")[0]
    chapters = re.findall(r"^## (.+)$", runbook, re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in chapters]
    assert set(re.findall(r"\]\(#([\w-]+)\)", contents)) == set(anchors)
    explained = re.findall(r"^### Health: (.+)\n(?=\w|`)", runbook, re.MULTILINE)
    assert sorted(explained) == sorted(probe.name for probe in system.probes)
