"""Tasks whose results are named by the hash of what made them: computed here, kept in a folder, or spread over a cluster.

A `Task` is a function of this package or of ``qsnnc``, its arguments and its inputs. `Here` computes tasks one after the
other; `chipsim.cluster` computes them on Dask. Either way the results come in the order of the tasks, and `Kept` leaves out
those that a folder holds already.
"""

from __future__ import annotations

from chipsim.tasks.aside import aside
from chipsim.tasks.executor import Executor, Here, Outcome
from chipsim.tasks.kept import Kept
from chipsim.tasks.recent import Recent
from chipsim.tasks.task import Given, Input, Task, file_input

__all__ = ["Executor", "Given", "Here", "Input", "Kept", "Outcome", "Recent", "Task", "aside", "file_input"]
