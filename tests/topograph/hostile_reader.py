"""Reads the hostile set in a process of its own, with little memory and under watch.

``python -m tests.topograph.hostile_reader FOLDER OUTPUT`` reads the files of a folder as an
inspection does and writes what came of each as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from tests.fuzz.targets import Executed, watched
from topograph.errors import TopographError
from topograph.inspection.files import read_file
from topograph.inspection.wrappings import unwrap

#: What the process may take beside what it has when its imports are done.
MEMORY = 1 << 30


def outcome(path: Path) -> dict[str, Any]:
    """Return how the reading of a file ended."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with watched():
            unwrap(read_file(path), path.name)
        ended = {"kind": "read", "text": ""}
    except TopographError as error:
        ended = {"kind": "refused", "text": str(error)}
    except (Exception, Executed) as error:
        ended = {"kind": type(error).__name__, "text": str(error)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**ended, "grown": (peak - before) * 1024}


def main(folder: Path, output: Path) -> None:
    """Read the files in the order of their names."""
    paths = sorted(folder.iterdir())
    outcome(folder.parent / "honest.pt")  # what readers import late
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    results = {}
    for path in paths:
        sys.stdout.write(f"{path.name}\n")
        sys.stdout.flush()
        results[path.name] = outcome(path)
    output.write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
