"""The scripts of analyses/ import each other by their bare names, as when one is run."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "analyses"
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))
