"""The figures, bounds and pictures that the benchmarks make out of what they measured."""

from xml.etree import ElementTree

import pytest

from benchmarks.cells import MODEL, Cell, Measured
from benchmarks.matrix import cells_of, unmeasured
from benchmarks.plot import Series, svg
from benchmarks.report import plot
from benchmarks.rows import QUICK_ROWS, ROWS, Bound, Row
from benchmarks.servers import KINDS
from benchmarks.tables import cell_table, judged, verdict_table

MEASURABLE = [row for row in ROWS if unmeasured(row) is None]


def measured(cell: Cell, calls: int = 100, failed: int = 0) -> Measured:
    """A cell whose server is the faster, the longer its name is."""
    milliseconds = 100.0 / len(cell.server)
    first_token = 0.0 if cell.server == MODEL else float(len(cell.server))
    return Measured(
        seconds=calls * milliseconds / 1e3,
        cpu_seconds=calls * milliseconds / 1e3,
        milliseconds=[milliseconds] * calls,
        first_token_milliseconds=[first_token] * calls,
        failed=failed,
    )


def parsed(picture: str) -> ElementTree.Element:
    """A picture of ours as what it draws."""
    return ElementTree.fromstring(picture)  # noqa: S314 - our own


def test_every_row_has_a_name_of_its_own_and_servers_that_there_are() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {cell.server for row in ROWS for cell in row.cells} <= {MODEL, *KINDS}
    assert set(QUICK_ROWS) <= {row.name for row in ROWS}


def test_cells_under_the_same_load_are_neighbours_and_there_once() -> None:
    cells = cells_of(ROWS)
    loads = [cell.load for cell in cells]
    starts = [n for n, load in enumerate(loads) if n == 0 or load != loads[n - 1]]
    assert len(set(cells)) == len(cells)
    assert len({loads[n] for n in starts}) == len(starts)


def test_a_cell_is_found_again_by_its_name() -> None:
    for cell in cells_of(ROWS):
        assert Cell.named(cell.name) == cell


@pytest.mark.parametrize("row", MEASURABLE, ids=lambda row: row.name)
def test_every_row_comes_to_a_figure(row: Row) -> None:
    results = {cell: measured(cell) for cell in row.cells}
    verdict = judged(row, results)
    assert verdict.figure.endswith("×")
    assert verdict.within == (row.bound.holds(row.ratio(results)) if row.bound else None)
    assert verdict.command in verdict_table([verdict])


def test_stock_is_measured_by_its_better_half() -> None:
    row = next(row for row in ROWS if row.name == "stock-20")
    ours, aio, threads = row.cells
    results = {ours: Measured(seconds=1, milliseconds=[1.0] * 60)}
    results[aio] = Measured(seconds=1, milliseconds=[1.0] * 10)
    results[threads] = Measured(seconds=1, milliseconds=[1.0] * 20)
    assert row.ratio(results) == pytest.approx(3.0)


def test_a_bound_says_which_side_is_missed() -> None:
    assert Bound(5, at_least=True).holds(5.0)
    assert not Bound(5, at_least=True).holds(4.9)
    assert not Bound(2, at_least=False).holds(2.1)
    assert [str(Bound(2, at_least=each)) for each in (True, False)] == ["≥ 2×", "≤ 2×"]


def test_a_row_whose_calls_failed_is_missed_however_fast_it_was() -> None:
    row = next(row for row in ROWS if row.name == "floor-20")
    ours, floor = row.cells
    results = {ours: measured(ours), floor: measured(floor)}
    results[floor].cpu_seconds = 100.0
    assert judged(row, results).within is True
    for cell in row.cells:
        results[cell].failed = 1
        assert judged(row, results).within is False
        results[cell].failed = 0


def test_percentiles_are_of_all_calls() -> None:
    told = Measured(seconds=1, milliseconds=[float(n) for n in range(1, 101)]).figures()
    assert (told["p50_ms"], told["p99_ms"]) == (51.0, 100.0)


def test_the_tables_tell_every_cell() -> None:
    results = {cell: measured(cell) for cell in cells_of(ROWS)}
    table = cell_table(results)
    assert all(f"--cell {cell.name}`" in table for cell in results)


def test_the_plot_is_the_same_picture_for_the_same_figures() -> None:
    results = {cell: measured(cell) for cell in cells_of(ROWS)}
    assert plot(results) == plot(dict(reversed(results.items())))
    lines = parsed(plot(results)).findall("{*}polyline")
    assert len(lines) == 5


def test_labels_of_lines_that_end_together_lie_apart() -> None:
    same = [Series(name, "#000000", [(20, 5.0), (1_000, 5.0)]) for name in ("раз", "два", "三")]
    picture = parsed(svg("title", "subtitle", same))
    heights = [
        float(each.get("y", "0"))
        for each in picture.findall("{*}text")
        if (each.text or "").partition(",")[0] in {"раз", "два", "三"}
    ]
    assert len(heights) == 3
    assert min(b - a for a, b in zip(sorted(heights), sorted(heights)[1:], strict=False)) >= 19
