"""Measurements beside what one would use instead: `python -m benchmarks`, from a checkout, with the extra `bench`.

They share the simulated server, the virtual clock and the stub transport with the tests.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))
