"""What a training on several GPUs asks of us: callbacks that another process can load, and what it wrote down."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest

from jobs.train.checkpoints.spool import Spool, TrainingAborted
from jobs.train.yolo.fitting import finished_epochs

_LOAD = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))['on_train_batch_end'].__self__)"


def test_the_callbacks_are_loaded_by_another_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", tmp_path / "abort", stop_at=0)
    pickled = tmp_path / "callbacks.pickle"
    pickled.write_bytes(cloudpickle.dumps(spool.callbacks()))
    done = subprocess.run([sys.executable, "-c", _LOAD, str(pickled)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(spool)


def test_one_of_several_processes_leaves_an_epoch_only_to_end_at_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", tmp_path / "abort", stop_at=0)
    trainer = SimpleNamespace(world_size=2, stop=False)
    spool.on_batch(trainer)
    assert not trainer.stop, "the time is up, but the others go on"
    spool.abort.touch()
    with pytest.raises(TrainingAborted):
        spool.on_batch(trainer)


def test_epochs_of_other_processes_are_read_from_what_they_wrote(tmp_path: Path) -> None:
    rows = tmp_path / "results.csv"
    rows.write_text("epoch,time,metrics/mAP50(B)\n4,3.3,0.02\n5,6.0,0.04\n")
    assert finished_epochs(SimpleNamespace(ddp=True, csv=rows, epochs=50)) == 5
    assert finished_epochs(SimpleNamespace(ddp=False, epoch=6)) == 7
