"""Several processes on one command: what a launcher started ends with it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lwta.processes import _adopted

RUNNING = "from lwta.processes import *; end_with_launcher(); print(1, flush=True); time.sleep(600)"
STARTING = """
print(1, flush=True)
while os.getppid() == parent: time.sleep(0.05)
from lwta.processes import *
end_with_launcher()
time.sleep(600)
"""
LAUNCHER = """
import os, subprocess, sys
code = "import os, time\\nparent = os.getppid()\\n" + sys.argv[1]
launched = {**os.environ, "LOCAL_RANK": "1", "MASTER_PORT": "1"}
worker = subprocess.Popen([sys.executable, "-c", code], env=launched, stdout=subprocess.PIPE)
worker.stdout.readline()
print(worker.pid, flush=True)
worker.wait()
"""


@pytest.mark.parametrize("worker_code", [RUNNING, STARTING], ids=["while it runs", "while it starts"])
def test_a_worker_ends_when_the_process_that_started_it_is_killed(worker_code):
    if worker_code == STARTING and not _adopted():
        pytest.skip("process 1 is a Python program, which may be a launcher")
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, worker_code], stdout=subprocess.PIPE, text=True) as launcher:
        worker = int(launcher.stdout.readline())
        launcher.kill()
    try:
        deadline = time.monotonic() + 60
        while is_running(worker) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_running(worker)
    finally:
        if is_running(worker):
            os.kill(worker, signal.SIGKILL)


def is_running(process: int) -> bool:
    """A process that nobody has waited for yet is none any more."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return done.stdout.strip()[:1] not in ("", "Z")
