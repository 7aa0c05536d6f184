"""What can be said of runs of many, where the caller says nothing else."""

from typing import Final

DEFAULT_ABORT_AFTER_FAILURES: Final = 20
"""So many rows in a row without a success end the run."""

DEFAULT_WAIT_FOR_NETWORK: Final = 600.0
"""Seconds. A router's restart, another wireless network or a dropped VPN are over by then, and nobody should have to start
a run again for these; what lasts longer, such as a wrong address, needs a person."""
