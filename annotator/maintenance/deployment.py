"""Checks the files by which a server is run for others: Docker Compose, Kubernetes.

Above all that no two processes write one project: what the files of these two programs can get wrong there. Whether a
file is one of theirs at all, their own schemas say. Knows nothing of a running server.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from annotator.errors import ConfigError
from annotator.settings import ServerConfig

CLOSING_SECONDS = 30.0
"""Least time for closing a project, after its requests have had theirs."""
HEALTH, READY = "/api/v1/health", "/api/v1/ready"
ONE_WRITER = "only one process may write a project"
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod", "Job")
_UNITS = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def check_deployment(path: Path) -> list[str]:
    """Return what is wrong with the server that a file runs, as sentences; empty if all is well.

    Raises:
        ConfigError: The file cannot be read, or is neither Compose's nor Kubernetes'.
    """
    try:
        documents = [_map(document) for document in yaml.safe_load_all(path.expanduser().read_text(encoding="utf-8"))]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    documents = [part for document in documents for part in _parts(document)]
    if any("services" in document for document in documents):
        return list(_compose_problems(documents[0]))
    if any("kind" in document for document in documents):
        return list(_kubernetes_problems(documents))
    raise ConfigError(f"{path} is no file of Docker Compose and none of Kubernetes.")


def _parts(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [_map(item) for item in _list(document.get("items"))] if document.get("kind") == "List" else [document]


def _compose_problems(document: Mapping[str, Any]) -> Iterator[str]:
    served = {
        name: _map(service)
        for name, service in _map(document.get("services")).items()
        if _serves(_words(_map(service).get("command")) or _words(_map(service).get("entrypoint")))
    }
    if not served:
        yield "No service starts `annotator serve`."
    volumes = Counter(volume for service in served.values() for volume in _writable_volumes(service))
    for volume, number in volumes.items():
        if number > 1:
            yield f"{number} services have the volume {volume}; {ONE_WRITER}. Let one of them have it."
    for name, service in served.items():
        yield from (f"Service {name}: {text}" for text in _service_problems(service))


def _service_problems(service: Mapping[str, Any]) -> Iterator[str]:
    words, deploy = _words(service.get("command")) or _words(service.get("entrypoint")), _map(service.get("deploy"))
    if max(_number(service.get("scale"), 1), _number(deploy.get("replicas"), 1)) > 1 or deploy.get("mode") == "global":
        yield f"it may run more than once; {ONE_WRITER}. Set replicas to 1."
    if _map(deploy.get("update_config")).get("order") == "start-first":
        yield f"an update starts the new container before the old one ends; {ONE_WRITER}. Set order to stop-first."
    if not service.get("container_name") and _number(deploy.get("replicas"), 0) != 1:
        yield "nothing keeps `docker compose up --scale` from starting a second one. Give it a container_name."
    if not _writable_volumes(service):
        yield "the project is lost with the container. Put it on a volume."
    grace = _seconds(service.get("stop_grace_period"), 10.0)
    yield from _grace_problem(words, grace, "stop_grace_period")
    yield from _shell_problem(words)
    test = " ".join(_words(_map(service.get("healthcheck")).get("test")))
    if READY not in test:
        yield f"its healthcheck does not ask {READY}, so nobody learns when the project is open."
    if not service.get("read_only"):
        yield "its root file system can be written to. Set read_only: true, and tmpfs: [/tmp]."
    if str(service.get("user", "")).partition(":")[0] in ("root", "0"):
        yield "it runs as root. Set user to another one, such as 1000:1000."
    limits = _map(_map(deploy.get("resources")).get("limits"))
    if not service.get("mem_limit") and not limits.get("memory"):
        yield "its memory has no limit (deploy.resources.limits.memory)."
    metrics = _port_of(_option(words, "--metrics"))
    for port in map(_published, _list(service.get("ports"))):
        if metrics and port[1] == metrics and port[0] not in ("127.0.0.1", "[::1]", "::1"):
            yield f"port {metrics} offers the metrics to everybody who reaches this machine. Do not publish it."


def _kubernetes_problems(documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    served = [
        (document, container)
        for document in documents
        if document.get("kind") in _WORKLOADS
        for container in map(_map, _list(_pod(document).get("containers")))
        if _serves(_command(container))
    ]
    if not served:
        yield "No container starts `annotator serve`."
    claims = {_name(document): document for document in documents if document.get("kind") == "PersistentVolumeClaim"}
    used = Counter(claim for document, _ in served for claim in set(_claims(document)))
    for claim, number in used.items():
        if number > 1:
            yield f"{number} workloads write to the claim {claim}; {ONE_WRITER}."
    scaled = {
        _map(_map(document.get("spec")).get("scaleTargetRef")).get("name")
        for document in documents
        if document.get("kind") == "HorizontalPodAutoscaler"
    }
    for document, container in served:
        name = f"{document['kind']} {_name(document)}"
        if _name(document) in scaled:
            yield f"{name}: an autoscaler may run it more than once; {ONE_WRITER}."
        yield from (f"{name}: {text}" for text in _workload_problems(document))
        yield from (f"{name}: {text}" for text in _volume_problems(document, claims))
        yield from (f"{name}: {text}" for text in _container_problems(document, container))


def _workload_problems(document: Mapping[str, Any]) -> Iterator[str]:
    spec, kind = _map(document.get("spec")), document["kind"]
    if kind in ("DaemonSet", "ReplicaSet", "Job", "Pod"):
        yield f"a {kind} does not keep one server running. Use a StatefulSet."
    if _number(spec.get("replicas"), 1) > 1:
        yield f"it has {spec['replicas']} replicas; {ONE_WRITER}. Set replicas to 1."
    if kind == "Deployment" and _map(spec.get("strategy")).get("type") != "Recreate":
        yield f"an update starts the new pod before the old one ends; {ONE_WRITER}. Use a StatefulSet, or Recreate."


def _volume_problems(document: Mapping[str, Any], claims: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    templates = [_map(item) for item in _list(_map(document.get("spec")).get("volumeClaimTemplates"))]
    named = [claims[name] for name in _claims(document) if name in claims]
    if not templates and not list(_claims(document)):
        yield "the project is lost with the pod. Put it on a volume claim."
    for claim in (*templates, *named):
        modes = _list(_map(claim.get("spec")).get("accessModes"))
        if "ReadWriteMany" in modes:
            yield f"the claim {_name(claim)} can be written by many pods; {ONE_WRITER}. Set ReadWriteOncePod."
        elif "ReadWriteOnce" in modes:
            yield (
                f"the claim {_name(claim)} can be written by several pods of one node; {ONE_WRITER}. Set "
                "ReadWriteOncePod."
            )


def _container_problems(document: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[str]:
    words, pod = _command(container), _pod(document)
    grace = _number(pod.get("terminationGracePeriodSeconds"), 30)
    yield from _grace_problem(words, grace, "terminationGracePeriodSeconds")
    yield from _shell_problem(words)
    yield from _probe_problems(container)
    own, all_containers = _map(container.get("securityContext")), _map(pod.get("securityContext"))
    if not own.get("runAsNonRoot", all_containers.get("runAsNonRoot")):
        yield "it may run as root. Set runAsNonRoot: true."
    if not own.get("readOnlyRootFilesystem"):
        yield "its root file system can be written to. Set readOnlyRootFilesystem: true."
    if own.get("allowPrivilegeEscalation") is not False:
        yield "it may gain privileges. Set allowPrivilegeEscalation: false."
    if "memory" not in _map(_map(container.get("resources")).get("limits")):
        yield "its memory has no limit (resources.limits.memory)."


def _probe_problems(container: Mapping[str, Any]) -> Iterator[str]:
    paths = {}
    for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
        probe = _map(container.get(kind))
        get = _map(probe.get("httpGet"))
        paths[kind] = str(get.get("path", ""))
        hosts = [_map(header).get("value") for header in _list(get.get("httpHeaders"))
                 if str(_map(header).get("name", "")).lower() == "host"]  # fmt: skip
        if get and not hosts:
            yield f"its {kind} names no host, and the server answers for its own only. Add the header Host: localhost."
    if not paths["readinessProbe"].endswith(READY):
        yield f"its readinessProbe does not ask {READY}."
    if not paths["livenessProbe"].endswith(HEALTH):
        yield f"its livenessProbe does not ask {HEALTH}."
    for kind in ("livenessProbe", "startupProbe"):
        if paths[kind].endswith(READY):
            yield f"its {kind} asks {READY}: a project that takes long to open or migrate would be killed at it."
    if not container.get("startupProbe"):
        yield f"it has no startupProbe ({HEALTH}): the imports alone take seconds."


def _grace_problem(words: Sequence[str], grace: float, name: str) -> Iterator[str]:
    drain = _float(_option(words, "--drain-seconds"), ServerConfig().drain_seconds)
    if grace < drain + CLOSING_SECONDS:
        yield (
            f"it is killed {grace:g} s after it is told to end, and may need {drain:g} s for requests and "
            f"{CLOSING_SECONDS:g} s to close the project. Set {name} to {drain + CLOSING_SECONDS:g} s or more."
        )


def _shell_problem(words: Sequence[str]) -> Iterator[str]:
    line = " ".join(words)
    if re.match(r"\S*\bsh -\w*c ", line) and not re.search(r"\bexec +annotator\b", line):
        yield "its shell does not pass signals on, so it is killed in the end. Write: exec annotator serve ..."


def _serves(words: Sequence[str]) -> bool:
    return re.search(r"\bannotator serve\b", " ".join(words)) is not None and "--demo" not in words


def _command(container: Mapping[str, Any]) -> list[str]:
    return _words(container.get("command")) + _words(container.get("args"))


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError:
            return value.split()
    return [str(word) for word in _list(value)]


def _option(words: Sequence[str], name: str) -> str:
    """Return the value of an option on a command line; empty without it."""
    found = re.search(rf"(?:^|\s){name}[= ](\S+)", " ".join(words))
    return found[1] if found else ""


def _writable_volumes(service: Mapping[str, Any]) -> list[str]:
    found = []
    for volume in _list(service.get("volumes")):
        if isinstance(volume, str):
            # A variable's message may hold colons: ${NAME:?the folder}.
            parts = re.sub(r"\$\{[^}]*\}", "VARIABLE", volume).split(":")
            if len(parts) > 1 and "ro" not in parts[-1].split(","):
                found.append(volume.rsplit(":", len(parts) - 1)[0])
        elif not _map(volume).get("read_only") and _map(volume).get("type") in ("volume", "bind"):
            found.append(str(_map(volume).get("source", "")))
    return found


def _published(port: object) -> tuple[str, str]:
    """Return the address of this machine and the port of the container; an empty address is every one."""
    if isinstance(port, Mapping):
        return str(port.get("host_ip", "")), str(port.get("target", ""))
    outside, _, inside = str(port).partition("/")[0].rpartition(":")
    return outside.rpartition(":")[0], inside


def _port_of(address: str) -> str:
    return address.rpartition(":")[2]


def _claims(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the claims that a workload may write to."""
    for volume in map(_map, _list(_pod(document).get("volumes"))):
        claim = _map(volume.get("persistentVolumeClaim"))
        if claim and not claim.get("readOnly"):
            yield str(claim.get("claimName"))


def _pod(document: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = _map(document.get("spec"))
    return spec if document.get("kind") == "Pod" else _map(_map(spec.get("template")).get("spec"))


def _name(document: Mapping[str, Any]) -> str:
    return str(_map(document.get("metadata")).get("name", ""))


def _seconds(value: object, default: float) -> float:
    """Return a duration of Compose, such as 1m30s, in seconds."""
    parts = re.findall(r"([\d.]+)(us|ms|s|m|h|)", str(value)) if value is not None else []
    return sum(_float(number, 0.0) * _UNITS[unit] for number, unit in parts) if parts else default


def _number(value: object, default: float) -> float:
    return _float(str(value), default) if value is not None else default


def _float(text: str, default: float) -> float:
    try:
        return float(text)
    except ValueError:
        return default


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
