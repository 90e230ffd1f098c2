"""The HTML page of a mapping: its chip, its network and the figures of a run, in one file that opens offline."""

from chipsim.report.page.evidence import Evidence
from chipsim.report.page.page import page

__all__ = ["Evidence", "page"]
