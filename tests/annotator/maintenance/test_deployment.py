"""The files in docs/deployment, and what the doctor finds in such files."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from check_jsonschema.builtin_schemas import get_builtin_schema

from annotator.cli.main import build_parser, main
from annotator.errors import ConfigError
from annotator.maintenance.deployment import check_deployment

FOLDER = Path(__file__).parents[3] / "docs" / "deployment"
COMPOSE, KUBERNETES = FOLDER / "compose.yaml", FOLDER / "kubernetes.yaml"
KUBERNETES_VERSION = "1.29"
"""The oldest version for which the file is written."""


def load(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def service_of(document: Any) -> Any:
    return document["services"]["annotator"]


def of_kind(documents: list[Any], kind: str) -> Any:
    return next(document for document in documents if document["kind"] == kind)


def container_of(documents: list[Any]) -> Any:
    return of_kind(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]


def write(path: Path, documents: list[Any]) -> Path:
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return path


def test_the_compose_file_fits_the_schema_of_compose() -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    validator = jsonschema.validators.validator_for(schema)(schema)
    (document,) = load(COMPOSE)
    assert [error.message for error in validator.iter_errors(document)] == []
    service_of(document)["replica"] = 2  # the schema refuses what Compose does not know
    assert [error.message for error in validator.iter_errors(document)] != []


@pytest.mark.parametrize("version", [KUBERNETES_VERSION, kubernetes_validate.latest_version()])
def test_the_manifest_fits_the_schemas_of_kubernetes(version: str) -> None:
    documents = load(KUBERNETES)
    for document in documents:
        assert kubernetes_validate.validate(document, version, strict=True) is not None
    container_of(documents)["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(of_kind(documents, "StatefulSet"), version, strict=True)


def words_of_both() -> dict[str, list[str]]:
    compose, kubernetes = service_of(load(COMPOSE)[0])["command"], container_of(load(KUBERNETES))["args"]
    return {"compose": compose, "kubernetes": kubernetes}


@pytest.mark.parametrize(("name", "words"), words_of_both().items())
def test_the_command_of_each_file_is_one_of_ours(name: str, words: list[str]) -> None:
    plain = [re.sub(r"\$\{\w+:-(.*)\}", r"\1", word) for word in words]
    parsed = build_parser().parse_args([re.sub(r"\$\{\w+:\?.*\}", "photos.example.org", word) for word in plain[1:]])
    assert (parsed.host, parsed.port, parsed.log_format, parsed.drain_seconds) == ("0.0.0.0", 7860, "json", 30)
    assert parsed.project.parent == Path("/data")
    assert parsed.allow_host == ["photos.example.org"]
    assert parsed.metrics == ("0.0.0.0", 9464)
    assert not parsed.demo


def test_the_probes_of_both_files_ask_paths_that_exist() -> None:
    container = container_of(load(KUBERNETES))
    probes = [container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")]
    assert probes == ["/api/v1/health", "/api/v1/health", "/api/v1/ready"]
    assert "http://127.0.0.1:7860/api/v1/ready" in service_of(load(COMPOSE)[0])["healthcheck"]["test"][-1]


@pytest.mark.parametrize("path", [COMPOSE, KUBERNETES])
def test_both_files_are_well_and_say_why_there_is_one_writer(path: Path) -> None:
    assert check_deployment(path) == []
    head = path.read_text(encoding="utf-8").partition("\n\n")[0] + path.read_text(encoding="utf-8")[:2500]
    assert "writes a project, never two" in head


Change = Callable[[Any], object]

COMPOSE_MISTAKES: list[tuple[str, Change, str]] = [
    ("scale", lambda s: s.update(scale=2), "may run more than once"),
    ("replicas", lambda s: s["deploy"].update(replicas=3), "may run more than once"),
    ("global", lambda s: s["deploy"].update(mode="global"), "may run more than once"),
    ("order", lambda s: s["deploy"].update(update_config={"order": "start-first"}), "before the old one ends"),
    ("name", lambda s: (s.pop("container_name"), s["deploy"].pop("replicas")), "--scale"),
    ("volume", lambda s: s.update(volumes=s["volumes"][1:]), "lost with the container"),
    ("grace", lambda s: s.update(stop_grace_period="59s"), "Set stop_grace_period to 60 s"),
    ("default grace", lambda s: s.pop("stop_grace_period"), "killed 10 s after"),
    ("healthcheck", lambda s: s["healthcheck"].update(test=["CMD", "true"]), "does not ask /api/v1/ready"),
    ("root fs", lambda s: s.pop("read_only"), "read_only: true"),
    ("root", lambda s: s.update(user="0:0"), "runs as root"),
    ("memory", lambda s: s["deploy"].pop("resources"), "memory has no limit"),
    ("metrics", lambda s: s["ports"].append("9464:9464"), "offers the metrics to everybody"),
    ("long metrics", lambda s: s["ports"].append({"target": 9464, "published": "80"}), "offers the metrics"),
    ("shell", lambda s: s.update(command="sh -c 'annotator serve /photos --project /data/p'"), "exec annotator serve"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "found"), [mistake[1:] for mistake in COMPOSE_MISTAKES],
                         ids=[mistake[0] for mistake in COMPOSE_MISTAKES])  # fmt: skip
def test_a_mistake_in_a_compose_file_is_found(change: Change, found: str, tmp_path: Path) -> None:
    document = load(COMPOSE)[0]
    change(service_of(document))
    problems = check_deployment(write(tmp_path / "compose.yaml", [document]))
    assert len(problems) == 1, problems
    assert problems[0].startswith("Service annotator: ")
    assert found in problems[0]


def test_two_services_with_one_volume_are_found_and_readers_are_none(tmp_path: Path) -> None:
    document = load(COMPOSE)[0]
    document["services"]["other"] = deepcopy(service_of(document))
    problems = check_deployment(write(tmp_path / "compose.yaml", [document]))
    shared = "2 services have the volume project; only one process may write a project. Let one of them have it."
    assert problems == [shared]
    document["services"]["other"]["volumes"][0] = "elsewhere:/data"
    assert check_deployment(write(tmp_path / "compose.yaml", [document])) == []
    document["services"]["other"]["command"] = ["annotator", "serve", "--demo"]
    document["services"]["other"]["volumes"][0] = "project:/data:ro"
    assert check_deployment(write(tmp_path / "compose.yaml", [document])) == []


def workload(documents: list[Any]) -> Any:
    return of_kind(documents, "StatefulSet")


def pod(documents: list[Any]) -> Any:
    return workload(documents)["spec"]["template"]["spec"]


def claim(documents: list[Any]) -> Any:
    return workload(documents)["spec"]["volumeClaimTemplates"][0]["spec"]


def as_deployment(documents: list[Any]) -> None:
    workload(documents)["kind"] = "Deployment"


def with_autoscaler(documents: list[Any]) -> None:
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "annotator"}
    documents.append({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"},
                      "spec": {"scaleTargetRef": target, "maxReplicas": 3}})  # fmt: skip


def startup_asks_ready(documents: list[Any]) -> None:
    container = container_of(documents)
    container["startupProbe"]["httpGet"] = container["readinessProbe"]["httpGet"]


KUBERNETES_MISTAKES: list[tuple[str, Change, str]] = [
    ("replicas", lambda d: workload(d)["spec"].update(replicas=2), "has 2 replicas"),
    ("deployment", as_deployment, "before the old one ends"),
    ("daemon", lambda d: workload(d).update(kind="DaemonSet"), "Use a StatefulSet"),
    ("autoscaler", with_autoscaler, "autoscaler may run it more than once"),
    ("many", lambda d: claim(d).update(accessModes=["ReadWriteMany"]), "written by many pods"),
    ("one node", lambda d: claim(d).update(accessModes=["ReadWriteOnce"]), "several pods of one node"),
    ("no claim", lambda d: workload(d)["spec"].pop("volumeClaimTemplates"), "lost with the pod"),
    ("grace", lambda d: pod(d).update(terminationGracePeriodSeconds=30), "Set terminationGracePeriodSeconds to 60"),
    ("default grace", lambda d: pod(d).pop("terminationGracePeriodSeconds"), "killed 30 s after"),
    ("root", lambda d: pod(d)["securityContext"].pop("runAsNonRoot"), "runAsNonRoot"),
    ("root fs", lambda d: container_of(d)["securityContext"].pop("readOnlyRootFilesystem"), "readOnlyRootFilesystem"),
    ("privileges", lambda d: container_of(d)["securityContext"].pop("allowPrivilegeEscalation"), "gain privileges"),
    ("memory", lambda d: container_of(d)["resources"].pop("limits"), "memory has no limit"),
    ("startup", lambda d: container_of(d).pop("startupProbe"), "no startupProbe"),
    ("readiness", lambda d: container_of(d).pop("readinessProbe"), "does not ask /api/v1/ready"),
    ("host", lambda d: container_of(d)["readinessProbe"]["httpGet"].pop("httpHeaders"), "Host: localhost"),
    ("startup asks ready", startup_asks_ready, "killed at it"),
    ("shell", lambda d: container_of(d).update(args=["sh", "-c", "annotator serve /photos"]), "exec annotator serve"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "found"), [mistake[1:] for mistake in KUBERNETES_MISTAKES],
                         ids=[mistake[0] for mistake in KUBERNETES_MISTAKES])  # fmt: skip
def test_a_mistake_in_a_manifest_is_found(change: Change, found: str, tmp_path: Path) -> None:
    documents = load(KUBERNETES)
    change(documents)
    problems = check_deployment(write(tmp_path / "kubernetes.yaml", documents))
    assert len(problems) == 1, problems
    assert found in problems[0]


def test_two_workloads_with_one_claim_are_found(tmp_path: Path) -> None:
    documents = load(KUBERNETES)
    volume = {"name": "project", "persistentVolumeClaim": {"claimName": "shared"}}
    workload(documents)["spec"].pop("volumeClaimTemplates")
    pod(documents)["volumes"].append(volume)
    second = deepcopy(workload(documents))
    second["metadata"]["name"] = "second"
    problems = check_deployment(write(tmp_path / "kubernetes.yaml", [*documents, second]))
    assert problems == ["2 workloads write to the claim shared; only one process may write a project."]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a: [", "cannot be read"), ("just text", "is no file of"), ("", "is no file of"), ("- 1\n- 2", "is no file of")],
)
def test_a_file_that_is_neither_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        check_deployment(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        check_deployment(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    "text",
    ["services: 3", "services: {a: 1, b: {command: 7}}", "kind: StatefulSet\nspec: []", "kind: [1]", "services: {}",
     "kind: List\nitems: [{kind: Pod, spec: 5}]"],
)  # fmt: skip
def test_a_file_without_our_server_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    (problem,) = check_deployment(tmp_path / "x.yaml")
    assert problem.endswith("starts `annotator serve`.")


def test_the_doctor_checks_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = load(COMPOSE)[0]
    service_of(document)["scale"] = 2
    bad = write(tmp_path / "bad.yaml", [document])
    assert main(["doctor", "--json", "--deployment", str(COMPOSE), "--deployment", str(bad)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["deployment"] == {str(COMPOSE): "well", str(bad): "1 problems"}
    assert any(f"{bad}: Service annotator: it may run more than once" in problem for problem in report["problems"])
    assert list(report)[-1] == "problems"
