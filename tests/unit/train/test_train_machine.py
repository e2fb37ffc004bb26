"""What a training takes from its machine."""

import json
from pathlib import Path

import pytest

from jobs.train.yolo.machine import (
    batch_size,
    checked_work_dir,
    dataloader_workers,
    prepare_ultralytics,
    shared_memory_free,
    step_images,
)
from shared.errors import SettingsError
from shared.settings import Settings

MB, GB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("device", "cores", "shared_memory", "batch", "workers"),
    [
        pytest.param("cpu", 64, 64 * GB, 8, 0, id="processor: ultralytics loads in its own process"),
        pytest.param([0], 16, 32 * GB, 16, 8, id="enough of everything"),
        pytest.param([0], 4, 32 * GB, 16, 4, id="few cores"),
        pytest.param([0], 16, 64 * MB, 16, 0, id="a container's 64 MB"),
        pytest.param([0], 16, 1 * GB, 16, 2, id="1 GB holds two"),
        pytest.param([0], 16, 0, 1, 0, id="none left"),
        pytest.param([0], 16, 2 * GB, -1, 1, id="batch not chosen yet"),
        pytest.param([0, 1, 2, 3], 16, 64 * GB, 64, 4, id="cores are shared by the GPUs"),
        pytest.param([0], 16, None, 16, 8, id="no such file system"),
    ],
)
def test_dataloader_workers(
    device: list[int] | str, cores: int, shared_memory: int | None, batch: int, workers: int
) -> None:
    found = dataloader_workers(-1, device=device, cores=cores, shared_memory=shared_memory, batch=batch, image_size=640)
    assert found == workers


@pytest.mark.parametrize(("outlines", "workers"), [(0, 8), (10, 8), (100, 3), (2000, 0)])
def test_masks_take_shared_memory_too(outlines: int, workers: int) -> None:
    """Each object has a mask of its own, since they may overlap."""
    found = dataloader_workers(
        -1, device=[0], cores=16, shared_memory=16 * GB, batch=16, image_size=640, outlines=outlines
    )
    assert found == workers


def test_a_number_of_workers_that_was_asked_for_wins() -> None:
    assert dataloader_workers(3, device="cpu", cores=1, shared_memory=0, batch=8, image_size=640) == 3


def test_shared_memory_is_measured_where_it_is(tmp_path: Path) -> None:
    assert (shared_memory_free(tmp_path) or 0) > 0
    assert shared_memory_free(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("asked", "device", "batch"),
    [
        (4, [0], 4),
        (0, "cpu", 8),
        (0, "mps", 8),
        (0, [0], -1),
        (0, "cuda:1", -1),
        (0, "0", -1),
        (0, [0, 1], 16),
        (1, [0, 1], 2),
    ],
)
def test_batch_size(asked: int, device: list[int] | str, batch: int) -> None:
    assert batch_size(asked, device) == batch


@pytest.mark.parametrize(
    ("images", "batch", "step"),
    [
        pytest.param(20, 8, 8, id="few images: every batch is a step"),
        pytest.param(100, 8, 25, id="four steps an epoch"),
        pytest.param(256, 8, 64, id="enough for ultralytics' own"),
        pytest.param(100_000, 128, 64, id="never more than ultralytics' own"),
        pytest.param(20, -1, 16, id="batch not chosen yet"),
        pytest.param(0, 8, 8, id="nothing"),
    ],
)
def test_step_images(images: int, batch: int, step: int) -> None:
    assert step_images(images, batch) == step


def test_ultralytics_reports_to_nobody_and_stays_in_its_folder(tmp_path: Path) -> None:
    environ = prepare_ultralytics(tmp_path, threads=3)
    assert environ["OMP_NUM_THREADS"] == "3"
    assert environ["YOLO_CONFIG_DIR"] == str(tmp_path)
    assert environ["ULTRALYTICS_SAFE_LOAD"] == "true"
    settings = json.loads((tmp_path / "Ultralytics" / "settings.json").read_text())
    assert settings["sync"] is False
    assert settings["weights_dir"].startswith(str(tmp_path))


def test_a_work_dir_that_cannot_be_used_is_refused_before_the_run(tmp_path: Path) -> None:
    checked_work_dir(tmp_path / "new" / "folder")
    assert not list((tmp_path / "new" / "folder").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"LABELLOOP_WORK_DIR.*cannot be written to"):
        checked_work_dir(tmp_path / "file" / "folder")


@pytest.mark.parametrize("folder", ["/it's", "/what?"])
@pytest.mark.parametrize("variable", ["LABELLOOP_WORK_DIR", "LABELLOOP_CACHE_DIR", "LABELLOOP_BASE_WEIGHTS"])
def test_paths_that_ultralytics_cannot_open_stop_the_start(variable: str, folder: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable}: ultralytics cannot open"):
        Settings.from_environ({variable: folder})


def test_seeds_are_numbers_that_numpy_takes() -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_SEED"):
        Settings.from_environ({"LABELLOOP_SEED": str(2**32)})
