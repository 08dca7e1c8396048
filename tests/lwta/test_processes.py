"""Several processes on one command: what a launcher started ends with it."""

import os
import signal
import subprocess
import sys
import time

LAUNCHER = """
import os, subprocess, sys
code = "import time; from lwta.processes import *; end_with_launcher(); print(1, flush=True); time.sleep(600)"
launched = {**os.environ, "LOCAL_RANK": "1", "MASTER_PORT": "1"}
worker = subprocess.Popen([sys.executable, "-c", code], env=launched, stdout=subprocess.PIPE)
worker.stdout.readline()
print(worker.pid, flush=True)
worker.wait()
"""


def test_a_worker_ends_when_the_process_that_started_it_is_killed():
    with subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, text=True) as launcher:
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
