"""The parts of the Ray engine that run without Ray; with a cluster: tests/annotator/cli/test_embed.py."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from annotator import __version__
from annotator.errors import BackboneError, ConfigError, ShardError
from annotator.ingest import ray_engine
from annotator.ingest.embedding import read_file
from annotator.ingest.photo_source import FolderPhotos, FoundFile
from annotator.ingest.ray_engine import RayEngine, RaySettings, Step
from annotator.models.backbones.backbone import Backbone

pytest.importorskip("pyarrow", reason="shards need pyarrow: the extra parquet")

STEP = Step(Path("/"), "efficientnet_lite0", "efficientnet_lite0-0123456789ab", 320, 1)


def read(step: Step, files: list[FoundFile]) -> list[Any]:
    return list(ray_engine._unpacked(ray_engine._read(ray_engine._packed(files), step)))


def found(folder: Path) -> list[FoundFile]:
    return [one for one in FolderPhotos(folder).find() if isinstance(one, FoundFile)]


def test_a_reading_task_gives_what_one_process_reads(
    tmp_path: Path, write_photos: Callable[..., object], backbone: Backbone
) -> None:
    write_photos(tmp_path, range(3))
    (tmp_path / "broken.jpg").write_bytes(b"not a photo")
    source, files = FolderPhotos(tmp_path), found(tmp_path)
    for given, file in zip(read(replace(STEP, root=tmp_path), files), files, strict=True):
        expected = read_file(source, file, lambda: backbone, 320)
        assert (given.found, given.sidecars, given.reason) == (expected.found, expected.sidecars, expected.reason)
        if expected.row is not None:
            assert given.row.metadata == expected.row.metadata
            assert given.row.data.thumbnail == expected.row.data.thumbnail
            assert (given.network_input.crop == expected.network_input.crop).all()


@pytest.mark.parametrize("is_there", [False, True])
def test_a_machine_that_does_not_see_the_photos_ends_the_run(
    tmp_path: Path, write_photos: Callable[..., object], is_there: bool
) -> None:
    write_photos(tmp_path / "photos", range(3))
    files = found(tmp_path / "photos")
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    if is_there:  # the mount point of a disk that is not mounted
        (tmp_path / "photos").mkdir()
    with pytest.raises(ShardError, match="does not see the photos"):
        read(replace(STEP, root=tmp_path / "photos"), files)


def test_a_machine_with_another_version_of_the_program_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"has annotator {__version__}, but this one has 0.0.1"):
        read(replace(STEP, version="0.0.1"), [])


def test_a_machine_with_another_version_of_the_backbone_ends_the_run(backbone: Backbone) -> None:
    network = ray_engine._Network(STEP)
    with pytest.raises(BackboneError, match=f"has the backbone efficientnet_lite0-{backbone.version}, but this run is"):
        network._network()
    label = f"efficientnet_lite0-{backbone.version}"
    assert ray_engine._Network(replace(STEP, backbone_label=label))._network().version == backbone.version


@pytest.mark.parametrize(
    ("cores", "gpus", "settings", "size", "needs"),
    [
        (2, 0, RaySettings(), 1, {"num_cpus": 1}),
        (16, 0, RaySettings(num_actor_cores=4), 2, {"num_cpus": 4}),
        (16, 0, RaySettings(num_actors=3, num_actor_cores=2), 3, {"num_cpus": 2}),
        (16, 4, RaySettings(num_actor_cores=2), 4, {"num_gpus": 1, "num_cpus": 0}),
        (16, 4, RaySettings(num_actors=2), 2, {"num_gpus": 1, "num_cpus": 0}),
    ],
)
def test_networks_take_a_gpu_each_or_leave_half_of_the_cores_to_reading(
    cores: int, gpus: int, settings: RaySettings, size: int, needs: dict[str, int]
) -> None:
    assert RayEngine(STEP, settings)._actors(cluster_of(cores, gpus)) == {"compute": size, **needs}


@pytest.mark.parametrize(
    ("cores", "gpus", "settings", "message"),
    [
        (2, 0, RaySettings(num_actor_cores=2), "leave none of the cluster's 2 cores"),
        (8, 0, RaySettings(num_actors=8), "leave none of the cluster's 8 cores"),
        (8, 1, RaySettings(num_actors=2), "the cluster has 1 GPUs"),
    ],
)
def test_networks_that_would_stop_all_reading_are_refused(
    cores: int, gpus: int, settings: RaySettings, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        RayEngine(STEP, settings)._actors(cluster_of(cores, gpus))


def cluster_of(cores: int, gpus: int) -> Any:
    """What the engine asks of Ray about a cluster."""
    resources = {"CPU": float(cores), "GPU": float(gpus)}
    data = SimpleNamespace(ActorPoolStrategy=lambda size: size)
    return SimpleNamespace(cluster_resources=lambda: resources, data=data)


def test_an_error_of_ours_is_found_in_what_ray_wraps_around_it() -> None:
    ours, wrapped = ShardError("The sentence."), RuntimeError("a trace")
    wrapped.cause = ours  # type: ignore[attr-defined]
    outer = RuntimeError("another trace")
    outer.__cause__ = wrapped
    assert ray_engine._cause_of(outer) is ours
    assert ray_engine._cause_of(RuntimeError("of Ray alone")) is None


@pytest.mark.parametrize("values", [{"num_actors": -1}, {"num_actor_cores": 0}])
def test_a_setting_out_of_range_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        RaySettings(**values)  # type: ignore[arg-type]
