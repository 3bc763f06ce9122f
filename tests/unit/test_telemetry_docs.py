"""Dashboard, alerts, runbook and docs/metrics.md speak of metrics that there are, and of all."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from turnkeep_server.telemetry.catalogue import CATALOGUE, Kind

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "turnkeep.json"
METRICS = ROOT / "docs" / "metrics.md"
RUNBOOK = ROOT / "docs" / "runbook.md"
# What Prometheus adds to every sample that it scrapes.
SCRAPED = {"instance", "job"}
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_METRIC = re.compile(r"\b(?:turnkeep|process)_\w+")
_SELECTOR = re.compile(r"\b((?:turnkeep|process)_\w+)\{([^}]*)\}")
_GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return [each for each in json.loads(DASHBOARD.read_text())["panels"] if each["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def labels_of(sample: str) -> set[str]:
    """The labels of a sample, by the metric that it is of; KeyError if there is none."""
    if sample in PROCESS:
        return SCRAPED
    name = re.sub(r"_(bucket|sum|count)$", "", sample)
    metric = CATALOGUE[sample] if sample in CATALOGUE else CATALOGUE[name]
    assert sample in CATALOGUE or metric.kind is Kind.HISTOGRAM, sample
    assert sample not in CATALOGUE or metric.kind is not Kind.HISTOGRAM, sample
    return {*metric.labels, *SCRAPED, *({"le"} if sample.endswith("_bucket") else ())}


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_and_label_that_is_asked_for_exists(where: str, expression: str) -> None:
    """In selectors and in groupings, of alerts and dashboard."""
    bare = _STRING.sub('""', expression)
    samples = _METRIC.findall(bare)
    assert samples, where
    known = {label for each in samples for label in labels_of(each)}
    for sample, selector in _SELECTOR.findall(bare):
        assert set(_LABEL.findall(selector)) <= labels_of(sample), (where, sample)
    for grouping in _GROUPING.findall(bare):
        assert {each.strip() for each in grouping.split(",") if each.strip()} <= known, where


def test_every_metric_is_on_the_dashboard() -> None:
    """Whoever looks at it sees all that there is to see."""
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    assert [name for name in CATALOGUE if name not in shown] == []


def test_the_dashboards_legends_name_labels_of_their_query() -> None:
    """A legend of a label that was summed away is empty."""
    for panel in panels():
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert re.search(rf"\b{label}\b", target["expr"]) or "by" not in target["expr"]


def test_the_dashboard_can_be_imported() -> None:
    """Ids differ, places do not overlap, and the data source is the reader's to choose."""
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [each["id"] for each in dashboard["panels"]]
    places = [
        (each["gridPos"]["y"] + y, each["gridPos"]["x"] + x)
        for each in dashboard["panels"]
        for y in range(each["gridPos"]["h"])
        for x in range(each["gridPos"]["w"])
    ]
    assert len(ids) == len(set(ids))
    assert len(places) == len(set(places))
    assert all(each["datasource"]["uid"] == "${datasource}" for each in panels())


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_has_a_place_in_the_runbook(rule: dict[str, Any]) -> None:
    """A heading that the link leads to, and under it what it means, where to look, what to do."""
    file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    sections = RUNBOOK.read_text().split("\n## ")
    (section,) = [each for each in sections if _anchor(each.splitlines()[0]) == anchor]

    assert ROOT / file == RUNBOOK
    assert anchor == f"alert-{rule['alert'].lower()}"
    for part in ("**Means**", "**Look**", "**Do**"):
        assert part in section, (rule["alert"], part)
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_the_runbook_tells_of_no_alert_that_there_is_none_of() -> None:
    """Every section's heading is an alert's name."""
    headings = {
        each.splitlines()[0].removeprefix("Alert: ")
        for each in RUNBOOK.read_text().split("\n## ")[1:]
    }
    assert headings == {rule["alert"] for rule in rules()}


def test_the_page_of_metrics_tells_what_the_catalogue_does() -> None:
    """Name, kind, labels and meaning, in the catalogue's order."""
    rows = re.findall(r"^\| `(turnkeep_\w+)` \| (.*) \|$", METRICS.read_text(), re.MULTILINE)
    told = [
        (name, f"{each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.about}")
        for name, each in CATALOGUE.items()
    ]
    assert rows == told


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_takes_the_rules() -> None:
    """Prometheus' own check of them."""
    subprocess.run(["promtool", "check", "rules", str(ALERTS)], check=True)


def _anchor(heading: str) -> str:
    """How GitHub makes an anchor of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
