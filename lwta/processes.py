"""Several processes on one command: torchrun's, or a plain scheduler's by `--shard i/n`."""

import os
import re
import threading
import time
from pathlib import Path

STOPPED = 143  # 128 and SIGTERM's number, as shells have it
_LOOKS = 0.5  # seconds between two looks at the parent


def end_with_launcher() -> None:
    """End soon after torchrun, or the process that Lightning starts its others from: one that lost them waits for them
    for minutes (in `first_after_all` for days), and holds its folder and its memory.

    Nothing is lost: files are written beside their place and renamed.
    """
    if not {"LOCAL_RANK", "MASTER_PORT"} <= os.environ.keys():
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent and not (parent == 1 and _adopted()):
            time.sleep(_LOOKS)
        os._exit(STOPPED)

    threading.Thread(target=watch, daemon=True).start()


def _adopted() -> bool:
    """Whether process 1 is the system's, which adopts who lost a launcher while it started; in a container it can be
    the launcher itself."""
    try:
        said = Path("/proc/1/cmdline").read_bytes()
    except OSError:
        return True
    return b"python" not in said and b"torchrun" not in said


def own_share(shard: str | None) -> tuple[int, int] | None:
    """This process's share (i, n), from `--shard` or from torchrun's environment; None for one process alone.

    >>> own_share("1/4")
    (1, 4)

    Raises:
        ValueError: no i/n with i between 0 and n-1.
    """
    if shard is None:
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        return (int(os.environ["RANK"]), processes) if processes > 1 else None
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not found or int(found[1]) >= int(found[2]):
        raise ValueError(f"Expected --shard i/n with i between 0 and n-1 but got {shard!r}")
    return int(found[1]), int(found[2])


def own_device(name: str | None = None) -> str:
    """The device of that name; by default an accelerator where there is one: under torchrun this process's own.

    Raises:
        ValueError: no such device.
    """
    import torch

    name = name or (f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        said = str(error).partition("\n")[0]
        raise ValueError(f"Expected --device cpu, cuda or cuda:N of this machine but got {name!r}: {said}") from error
    return name


def first_after_all() -> bool:
    """Under torchrun: wait until every process came here; True in the first one."""
    from datetime import timedelta

    import torch.distributed as processes

    processes.init_process_group("gloo", timeout=timedelta(days=7))  # shares may take very different times
    processes.barrier()
    first = processes.get_rank() == 0
    processes.destroy_process_group()
    return first
