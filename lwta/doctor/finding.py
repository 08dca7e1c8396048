"""What a check returns, and how a check looks at Python from outside."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """The result of one check. `mend` is the command that helps; `broken` says that lwta cannot work as it is."""

    ok: bool
    what: str
    mend: str = ""
    broken: bool = False


def ask_python(
    code: str,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    options: tuple[str, ...] = (),
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `code` in another process of this Python; `env` is added to the environment."""
    command = [sys.executable, *options, "-c", code]
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {timeout:.0f} s")
