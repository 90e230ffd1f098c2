"""What every worker needs, imported once before they are forked, as the last module: no thread may be started here."""

from __future__ import annotations

import gc

import distributed  # noqa: F401

import chipsim.cluster.worker  # noqa: F401
from chipsim.tasks.versions import versions

versions()
gc.freeze()  # what is there lives as long as the process: not to be looked through again
