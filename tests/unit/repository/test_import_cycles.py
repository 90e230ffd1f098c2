"""No circle of imports, neither at the top of modules nor inside functions."""

from __future__ import annotations

import pytest

grimp = pytest.importorskip("grimp", reason="comes with import-linter: the dev extra")
networkx = pytest.importorskip("networkx")

PACKAGES = ["chipsim", "qsnnc"]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_of_imports(package: str) -> None:
    modules = grimp.build_graph(package, cache_dir=None)
    graph = networkx.DiGraph(
        (importer, imported)
        for importer in modules.modules
        for imported in modules.find_modules_directly_imported_by(importer)
    )
    circles = [sorted(circle) for circle in networkx.strongly_connected_components(graph) if len(circle) > 1]
    assert not circles
    assert graph.number_of_edges() > 50, "the graph was not built"
