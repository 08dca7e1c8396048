"""Nothing lost: a run's folder is one command's, what is no run is never replaced, checkpoints are whole."""

import errno
import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock

from training import Run
from training.checkpoints import WholeCheckpoints
from training.run_folder import claimed


def a_run(folder):
    (folder / "model").mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {}\ndata: {}\ntrainer: {}\n")
    (folder / "model" / "config.json").write_text('{"competition": {}}')
    return folder


def test_what_is_no_run_is_not_replaced(tmp_path):
    (tmp_path / "project" / "model").mkdir(parents=True)
    (tmp_path / "project" / "model" / "my_weights.bin").write_text("precious")
    (tmp_path / "project" / "config.yaml").write_text("mine: 1")
    with (
        pytest.raises(FileExistsError, match="holds something else than a run"),
        claimed(Run(tmp_path / "project", overwrite=True)),
    ):
        pass
    assert sorted(path.name for path in (tmp_path / "project").rglob("*")) == ["config.yaml", "model", "my_weights.bin"]


def test_a_model_that_is_not_ours_keeps_a_folder_from_being_a_run(tmp_path):
    folder = a_run(tmp_path / "r")
    Run(folder, overwrite=True).check()
    (folder / "model" / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="something else than a run"):
        Run(folder, overwrite=True).check()


def test_a_run_that_ended_before_its_first_checkpoint_starts_anew_by_the_same_command(tmp_path):
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "config.yaml").write_text("model: {}\ndata: {}\ntrainer: {}\n")
    Run(folder).check()
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"weights")
    with pytest.raises(FileExistsError, match="--resume goes on with it"):
        Run(folder).check()


def test_of_two_commands_the_later_one_is_refused(tmp_path):
    code = "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire()"
    code += "; print('held', flush=True); time.sleep(60)"
    folder = a_run(tmp_path / "r")
    command = [sys.executable, "-c", code, folder / ".lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FileExistsError, match="another command trains in"), claimed(Run(folder, overwrite=True)):
            pass
        other.kill()  # a lock of a killed command holds nobody up
        other.wait()
    with claimed(Run(folder, overwrite=True)):
        pass


def test_a_run_that_another_command_finished_meanwhile_is_not_written_over(tmp_path, monkeypatch):
    acquire = FileLock.acquire

    def late(lock, *args, **options):
        a_run(tmp_path / "r")
        return acquire(lock, *args, **options)

    monkeypatch.setattr(FileLock, "acquire", late)
    with pytest.raises(FileExistsError, match="--resume goes on with it"), claimed(Run(tmp_path / "r")):
        pass
    assert (tmp_path / "r" / "model").is_dir()


def test_what_fails_before_the_first_step_leaves_no_folder(tmp_path):
    def fails(folder):
        (folder / "tensorboard").mkdir()
        raise ValueError("no pictures")

    folder = tmp_path / "runs" / "r"
    with pytest.raises(ValueError, match="no pictures"), claimed(Run(folder)):
        fails(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_command_killed_while_it_set_up_is_in_nobodys_way(tmp_path):
    (tmp_path / "r" / "tensorboard").mkdir(parents=True)
    (tmp_path / "r" / ".lock").touch()
    with claimed(Run(tmp_path / "r")):
        (tmp_path / "r" / "config.yaml").touch()
    assert [path.name for path in (tmp_path / "r").iterdir()] != [".lock"]


def test_a_checkpoint_is_written_beside_its_place_and_renamed(tmp_path, monkeypatch):
    path, moved = tmp_path / "checkpoints" / "last.ckpt", []
    WholeCheckpoints().save_checkpoint({"epoch": 1}, path)
    monkeypatch.setattr(os, "replace", lambda source, target: moved.append((source, target)))
    WholeCheckpoints().save_checkpoint({"epoch": 2}, path)
    ((source, target),) = moved
    assert source.parent == target.parent == path.parent
    assert torch.load(path, weights_only=True) == {"epoch": 1}  # until the moment of renaming


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_former_checkpoint_and_says_so(tmp_path, monkeypatch, number):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, path)

    def full(checkpoint, file):
        file.write(b"half")
        raise OSError(number, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"Expected to write .*last\.ckpt"):
        WholeCheckpoints().save_checkpoint({"epoch": 2}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=True) == {"epoch": 1}


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"Expected to write .*last\.ckpt"):
            WholeCheckpoints().save_checkpoint({"weights": torch.zeros(100_000)}, tmp_path / "last.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"weights": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"a whole checkpoint in .*last.ckpt.* --model.start.weights"):
        WholeCheckpoints().load_checkpoint(path, weights_only=True)


def test_going_on_in_another_number_of_processes_is_said(capsys):
    from training.callbacks.generators import Generators

    generators = Generators()
    generators.on_load_checkpoint(SimpleNamespace(world_size=1, global_rank=0), None, {"generators": [{"a": 1}, {}]})
    assert "goes on in 1 processes, so far in 2" in capsys.readouterr().out
    assert generators.restored == {"a": 1}
    further = Generators()
    further.on_load_checkpoint(SimpleNamespace(world_size=3, global_rank=2), None, {"generators": [{}, {}]})
    assert further.restored is None
