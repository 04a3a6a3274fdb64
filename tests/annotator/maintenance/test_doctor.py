import json
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest

from annotator.cli.main import main
from annotator.maintenance import doctor
from annotator.maintenance.doctor import examine
from annotator.models.detectors import detector_install


def test_the_report_names_versions_devices_index_and_weights_in_json_values() -> None:
    report = json.loads(json.dumps(examine()))
    assert report["versions"]["duckdb"] == installed_version("duckdb")
    assert set(report["versions"]) >= {"annotator", "python", "torch", "gradio", "onnxruntime"}
    assert report["device"]["cpus"] >= 1
    assert report["device"]["index"] in {"CPU"} | {f"{number} GPU(s)" for number in range(1, 9)}
    assert set(report["backbones"]) >= {"efficientnet_lite0", "vgg16", "alexnet", "resnet50", "inception_v3"}
    assert report["backbones"]["efficientnet_lite0"].startswith("available")
    assert Path(report["cache"]["backbones"]).name == "backbones"


def test_where_all_is_well_the_exit_code_is_0_in_words_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    problems = examine()["problems"]
    assert main(["doctor", "--json"]) == (1 if problems else 0)
    assert json.loads(capsys.readouterr().out)["problems"] == problems
    assert main(["doctor"]) == (1 if problems else 0)
    assert "efficientnet_lite0: available" in capsys.readouterr().out


def test_a_missing_package_is_a_problem_with_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        if name == "gradio":
            raise PackageNotFoundError(name)
        return installed_version(name)

    monkeypatch.setattr(doctor, "version", version)
    report = examine()
    assert report["versions"]["gradio"] == "missing"
    assert "The package gradio is missing. Run: pip install gradio" in report["problems"]
    assert main(["doctor"]) == 1
    assert "pip install gradio" in capsys.readouterr().out


def test_a_missing_faiss_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"problem": "No FAISS is installed.", "num_gpus": 0}
    monkeypatch.setattr(doctor, "describe_faiss", lambda: missing)
    assert "No FAISS is installed." in examine()["problems"]


def test_a_gpu_that_faiss_cannot_use_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "describe_faiss", lambda: {"problem": None, "num_gpus": 0})
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    report = examine()
    assert any("annotator[gpu]" in problem for problem in report["problems"])
    assert report["device"]["gpu"] == "an NVIDIA GPU"


def test_an_optional_detector_that_is_not_there_is_no_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    report = examine()
    assert "annotator detector install" in report["detectors (optional)"]["nanodet"]
    assert not any("detector" in problem for problem in report["problems"])
    folder = tmp_path / "annotator" / "detectors" / f"nanodet-{detector_install.installed_version()}"
    folder.mkdir(parents=True)
    (folder / "about.json").write_text("{}")
    assert examine()["detectors (optional)"]["nanodet"] == "available"
