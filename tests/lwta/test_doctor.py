"""The doctor finds what is broken, and says the command that mends it."""

import sys
from pathlib import Path

import pytest

from lwta import doctor
from lwta.doctor.finding import Finding, ask_python
from lwta.doctor.packages import EXTRAS, NEEDED, check_extras, check_malware, check_packages, installed_versions
from lwta.doctor.shadows import HOME, ROOMS, check_owners, check_shadows
from lwta.doctor.surroundings import cache_folder, check_cache, check_chromium, check_machine
from lwta.doctor.torches import TOGETHER, check_gpu, check_torch, explain_failure

ALL = dict.fromkeys((*NEEDED, *(name for names, _ in EXTRAS.values() for name in names)), "9.9.9")


def fake_package(folder: Path, name: str, code: str = "") -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    return folder


def test_importing_the_doctor_imports_nothing_heavy():
    heavy = "('torch', 'timm', 'numpy', 'lightning', 'jsonargparse')"
    seen = ask_python(f"import sys, lwta.doctor; print([m for m in {heavy} if m in sys.modules])")
    assert seen.stdout.strip() == "[]"


def test_a_whole_installation_is_fine():
    assert [finding.ok for finding in check_packages(ALL)] == [True]
    assert check_malware(ALL) == []
    assert [finding.ok for finding in check_extras(ALL)] == [True] * len(EXTRAS)


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    assert check_packages(ALL | {"timm": None})[-1] == Finding(
        False, "not installed: timm", "pip install timm", broken=True
    )


def test_torch_and_torchvision_are_only_asked_for_together():
    assert check_packages(ALL | {"torchvision": None})[-1].mend == "pip install torch torchvision"


def test_nothing_installed_at_all():
    (finding,) = check_packages(dict.fromkeys(NEEDED))
    assert finding.broken
    assert finding.mend.startswith("pip install torch torchvision timm")


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_malware_is_called_so(version):
    (finding,) = check_malware(ALL | {"lightning": version})
    assert finding.broken
    assert "malware" in finding.what
    assert finding.mend == "pip install --force-reinstall 'lightning>=2.6.4'"


def test_a_missing_extra_is_no_fault():
    found = dict(zip(EXTRAS, check_extras(ALL | {"tensorboard": None, "onnxscript": None}), strict=True))
    onnx, tensorboard = found["onnx"], found["tensorboard"]
    assert (tensorboard.ok, tensorboard.broken, tensorboard.mend) == (False, False, "pip install 'lwta[tensorboard]'")
    assert onnx == Finding(
        False, "not installed: onnxscript, for `lwta export --format onnx`", "pip install 'lwta[onnx]'"
    )


def test_installed_versions_are_read_from_metadata():
    assert installed_versions(["pytest", "no-such-thing"]) == {"pytest": pytest.__version__, "no-such-thing": None}


def test_a_torchvision_for_another_torch(tmp_path):
    fake_package(tmp_path, "torch", "class cuda: is_available = staticmethod(lambda: False)")
    fake_package(tmp_path, "torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    (finding,) = check_torch({"PYTHONPATH": str(tmp_path)})
    assert finding.broken
    assert "do not fit each other: RuntimeError: operator torchvision::nms does not exist" in finding.what
    assert finding.mend == TOGETHER


def test_fitting_torches(tmp_path):
    fake_package(tmp_path, "torch", "class cuda: is_available = staticmethod(lambda: True)")
    fake_package(tmp_path, "torchvision")
    assert [finding.ok for finding in check_torch({"PYTHONPATH": str(tmp_path)})] == [True, True]


def test_torch_is_not_there():
    finding = explain_failure("Traceback ...\nModuleNotFoundError: No module named 'torch'\n")
    assert (finding.broken, finding.mend) == (True, "pip install torch torchvision")


def test_a_torch_that_fails_otherwise_shows_its_last_line():
    finding = explain_failure("Traceback ...\nOSError: libcudnn.so.9: cannot open shared object file\n")
    assert finding.broken
    assert "libcudnn.so.9" in finding.what


def test_a_gpu_that_torch_does_not_see():
    finding = check_gpu(["GPU 0: H100"], torch_sees_it=False)
    assert (finding.ok, finding.broken) == (False, False)
    assert "torch does not see GPU 0: H100" in finding.what
    assert check_gpu(["GPU 0: H100"], torch_sees_it=True).ok
    assert check_gpu([], torch_sees_it=False).ok


def test_a_working_folder_with_its_own_training(tmp_path):
    fake_package(tmp_path, "training")
    (tmp_path / "configs").mkdir()  # a plain folder shadows nothing
    (finding,) = check_shadows(tmp_path)
    assert (finding.ok, finding.broken) == (False, False)
    assert str(tmp_path / "training") in finding.what
    assert "PYTHONSAFEPATH=1" in finding.mend


def test_a_package_of_our_name_on_the_path(tmp_path):
    fake_package(tmp_path / "other", "dissect")
    (finding,) = check_shadows(tmp_path, env={"PYTHONPATH": str(tmp_path / "other")})
    assert finding.broken
    assert f"instead of our package 'dissect' Python finds {tmp_path / 'other' / 'dissect'}" in finding.what


def test_another_distribution_with_our_name():
    (finding,) = check_owners({"training": ["lwta", "gym-plan"], "dissect": ["lwta"]})
    assert finding.broken
    assert finding.mend.startswith("pip uninstall gym-plan")


def test_our_own_packages_are_found(tmp_path):
    assert [finding.ok for finding in check_shadows(tmp_path)] == [True]
    assert all((HOME / room / "__init__.py").is_file() for room in ROOMS)


def test_a_browser_or_none():
    assert check_chromium([Path(sys.executable).name]).ok
    assert "apt-get install chromium" in check_chromium(["no-such-browser"]).mend


def test_the_cache(tmp_path):
    assert cache_folder({"HF_HOME": "/a"}) == Path("/a")
    assert cache_folder({"HOME": "/home/x"}) == Path("/home/x/.cache/huggingface")
    assert check_cache(tmp_path / "not" / "yet").ok
    (tmp_path / "file").write_text("")
    finding = check_cache(tmp_path / "file")
    assert not finding.ok
    assert "HF_HOME" in finding.mend


def test_the_machine_has_cores():
    assert "core" in check_machine().what


def test_what_is_broken_decides_the_exit_status(monkeypatch, capsys):
    monkeypatch.setattr(
        doctor, "examine", lambda: [Finding(True, "fine"), Finding(False, "no extra", "pip install extra")]
    )
    assert doctor.main([]) == 0
    monkeypatch.setattr(doctor, "examine", lambda: [Finding(False, "bad", "do this", broken=True)])
    assert doctor.main([]) == 1
    assert "BAD  bad\n     -> do this" in capsys.readouterr().out
