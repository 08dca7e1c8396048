"""`lwta doctor`: what is installed, what is missing, and the command that mends it.

It looks without importing anything heavy: it has to answer where torch is missing or broken. Every check is a function
of what it looks at and returns findings, so that broken machines can be described in tests.
"""

import os
import sys
from pathlib import Path

from ..live.archive import default_archive
from .finding import Finding
from .packages import check_extras, check_malware, check_packages, installed_versions
from .shadows import check_owners, check_shadows
from .surroundings import cache_folder, check_cache, check_chromium, check_machine, check_runtime
from .torches import check_torch


def main(argv: list[str]) -> int:
    """Print every finding; 1 where something is broken."""
    if argv:
        print("usage: lwta doctor\n\nWhat is installed, what is missing, and the command that mends it.")
        return 0 if argv[0] in ("-h", "--help") else 2
    findings = examine()
    for finding in findings:
        mark = "ok   " if finding.ok else "BAD  " if finding.broken else "note "
        print(mark + finding.what + (f"\n     -> {finding.mend}" if finding.mend else ""))
    broken = sum(finding.broken for finding in findings)
    print(f"\n{broken} of {len(findings)} findings need mending" if broken else "\nlwta can work here")
    return int(broken > 0)


def examine() -> list[Finding]:
    """All findings about this machine and the current folder."""
    versions = installed_versions()
    return [
        Finding(True, f"lwta {versions['lwta']}, Python {sys.version.split()[0]} at {sys.executable}"),
        *check_packages(versions),
        *check_malware(versions),
        *check_torch(),
        *check_shadows(Path.cwd()),
        *check_owners(),
        *check_extras(versions),
        check_chromium(),
        check_runtime(default_archive()),
        check_cache(cache_folder(os.environ)),
        check_machine(),
    ]
