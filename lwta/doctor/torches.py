"""Do torch and torchvision fit each other, and does torch see the GPU? Asked in another process."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .finding import Finding, ask_python

TOGETHER = "pip install --force-reinstall torch torchvision"
_LOOK = "import torch; print('gpu', torch.cuda.is_available()); import torchvision; print('both')"
# what a torchvision built for another torch says when it is imported
_MISFIT = r"operator torchvision::\w+ does not exist|undefined symbol|partially initialized module 'torchvision'|_C\.so"


def check_torch(env: Mapping[str, str] | None = None) -> list[Finding]:
    """Import both in another process; `env` is added to its environment."""
    seen = ask_python(_LOOK, env=env)
    if "both" in seen.stdout.split():
        fit = Finding(True, "torch and torchvision fit each other")
        return [fit, check_gpu(gpus_of_the_machine(), torch_sees_it="gpu True" in seen.stdout)]
    return [explain_failure(seen.stderr)]


def explain_failure(stderr: str) -> Finding:
    """The finding behind what Python printed when one of the two did not import."""
    missing = re.search(r"No module named '(torch|torchvision)'", stderr)
    if missing:
        what = f"{missing[1]} cannot be imported: it is not installed"
        return Finding(False, what, "pip install torch torchvision", broken=True)
    last = ([line.strip() for line in stderr.splitlines() if line.strip()] or ["no message"])[-1]
    verdict = "do not fit each other" if re.search(_MISFIT, stderr) else "cannot be imported"
    return Finding(False, f"torch and torchvision {verdict}: {last}", TOGETHER, broken=True)


def check_gpu(gpus: list[str], *, torch_sees_it: bool) -> Finding:
    """Does torch see the GPUs that the machine has?"""
    if gpus and not torch_sees_it:
        what = f"torch does not see {', '.join(gpus)}: everything runs on the CPU"
        return Finding(False, what, f"see whether nvidia-smi lists it; if so: {TOGETHER}")
    return Finding(True, f"GPU: {', '.join(gpus) or 'yes'}" if torch_sees_it else "no GPU: everything runs on the CPU")


def gpus_of_the_machine() -> list[str]:
    """The GPUs that the driver's own tool names, or else the device files."""
    if shutil.which("nvidia-smi"):
        seen = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
        if seen.returncode == 0:
            return [line.split(" (UUID")[0] for line in seen.stdout.splitlines()]
    return sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
