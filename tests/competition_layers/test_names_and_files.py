"""Globs, nearest names, and folders that are whole or absent."""

import errno
import os
from pathlib import Path

import pytest

from competition_layers.files import check_place, os_error_in_words, write_file, write_folder
from competition_layers.names import match_names, nearest


def test_globs_keep_the_order_of_the_known_names():
    assert match_names(["b*", "a"], ["a", "b1", "b0"], what="layer") == ["a", "b1", "b0"]


def test_a_pattern_that_matches_nothing_offers_the_nearest():
    with pytest.raises(
        ValueError, match=r"known layer but got 'blokcs.0', did you mean 'blocks.0'\? \(known: blocks.0\)"
    ):
        match_names("blokcs.0", ["blocks.0"], what="layer")
    assert nearest("zzz", ["abc"]) == ""


def write_model(folder):
    return write_folder(folder, names=("x",), ours=lambda _: True)


@pytest.mark.parametrize("write", [write_file, write_model])
def test_an_interrupted_write_leaves_the_old_one_whole(tmp_path, write):
    target = tmp_path / "target"
    for text in ("old", "new"):
        try:
            with write(target) as temporary:
                (temporary if write is write_file else temporary / "x").write_text(text)
                if text == "new":
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert (target if write is write_file else target / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["target"]


REMEDIES = {errno.ENOSPC: "disk is full: make room", errno.EACCES: "no permission", errno.EROFS: "system is read-only"}


@pytest.mark.parametrize("number, remedy", REMEDIES.items())
@pytest.mark.parametrize("write", [write_file, write_model])
@pytest.mark.parametrize("safetensors", [False, True])
def test_what_cannot_be_written_is_said_with_its_remedy(tmp_path, write, number, remedy, safetensors):
    def fail(path):
        if safetensors:  # an error of its own
            raise RuntimeError(f'Error while serializing: IoError(Os {{ code: {number}, message: "..." }})')
        raise OSError(number, os.strerror(number), str(path))

    said = rf"Expected to write '.*target' but .*{remedy}.* what was written whole is kept"
    with pytest.raises(OSError, match=said), write(tmp_path / "target") as temporary:
        fail(temporary)
    assert not list(tmp_path.iterdir())


def test_a_place_without_permission_is_refused_and_a_new_folder_in_one_with_it_is_not(tmp_path, monkeypatch):
    check_place(tmp_path / "new" / "page.html")
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(OSError, match="there is no permission: change it, or choose another place"):
        check_place(tmp_path / "new" / "page.html")


def test_what_cannot_be_read_is_not_called_a_fault_of_writing(tmp_path):
    with pytest.raises(PermissionError, match="elsewhere"), write_file(tmp_path / "target"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere")


def test_errors_of_the_system_are_one_line():
    said = os_error_in_words(PermissionError(errno.EACCES, "Permission denied", "runs/x"))
    assert said == "Expected to use 'runs/x' but there is no permission: change it, or choose another place"
    assert os_error_in_words(OSError(errno.ENOSPC, "Expected room")) == "Expected room"
    assert os_error_in_words(FileNotFoundError("Expected a folder")) == "Expected a folder"


def test_a_files_mode_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with write_file(tmp_path / "x") as temporary:
            temporary.touch()
            temporary.chmod(0o600)  # as safetensors leaves it
    finally:
        os.umask(before)
    assert oct((tmp_path / "x").stat().st_mode & 0o777) == "0o640"
