"""Compute tasks on Dask: a scheduler and workers started here, or a cluster that exists.

Nothing but the command lines imports this package, and it loads Dask only when a cluster is opened.
"""

from __future__ import annotations

from chipsim.cluster.address import Address, parse_address
from chipsim.cluster.opened import computing, expect

__all__ = ["Address", "computing", "expect", "parse_address"]
