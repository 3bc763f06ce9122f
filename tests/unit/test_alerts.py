"""What the alerts are evaluated over: series that are there before the first time, and ratios."""

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.errors import ModelQuotaExhausted
from turnkeep_server.history.contract import StoreFigures
from turnkeep_server.records import Record, Step
from turnkeep_server.telemetry.catalogue import LIMITS
from turnkeep_server.telemetry.figures import ServerFigures
from turnkeep_server.telemetry.metrics import Metrics

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"
RPCS = [each.name for each in pb.DESCRIPTOR.services_by_name["ConversationService"].methods]
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
_SELECTOR = re.compile(r"(turnkeep_\w+)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')


@pytest.fixture
def metrics() -> Metrics:
    figures = ServerFigures(calls_running=0, draining=False, history_up=True, store=StoreFigures())
    return Metrics(
        cost_usd=lambda _, __: None, figures=lambda: figures, models={"gpt-4o", "своя 模型"}
    )


def scraped(registry: CollectorRegistry) -> Series:
    """As Prometheus reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def increased(selector: str, before: Series, after: Series) -> float:
    """PromQL's `sum(increase(…))`, which sees nothing of a series that was not there before."""
    name, matchers = _SELECTOR.fullmatch(selector).groups()  # type: ignore[union-attr]
    return sum(
        value - before[series]
        for series, value in after.items()
        if series[0] == name and series in before and _is_matched(dict(series[1]), matchers)
    )


def _is_matched(labels: dict[str, str], matchers: str) -> bool:
    return all(
        bool(re.fullmatch(wanted if "~" in how else re.escape(wanted), labels[label]))
        is not how.startswith("!")
        for label, how, wanted in _MATCHER.findall(matchers)
    )


def selectors(alert: str) -> list[str]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    (expression,) = (each["expr"] for each in group["rules"] if each["alert"] == alert)
    return [each.group() for each in _SELECTOR.finditer(expression)]


@pytest.mark.parametrize("method", RPCS)
def test_the_first_bug_of_each_method_is_an_increase(metrics: Metrics, method: str) -> None:
    (selector,) = selectors("TurnkeepInternalErrors")
    before = scraped(metrics.registry)
    metrics.ended(Record(method, code="INTERNAL", reason="INTERNAL"))
    assert increased(selector, before, scraped(metrics.registry)) == 1


def test_the_first_spent_budget_of_each_model_is_an_increase(metrics: Metrics) -> None:
    (selector,) = selectors("TurnkeepModelQuotaExhausted")
    before = scraped(metrics.registry)
    for model in ("gpt-4o", "своя 模型"):
        record = Record("Chat", code="RESOURCE_EXHAUSTED", reason="MODEL_QUOTA_EXHAUSTED")
        Step(record, "model", {"model": model}).end(ModelQuotaExhausted("no budget is left"))
        metrics.ended(record)
    assert increased(selector, before, scraped(metrics.registry)) == 2


@pytest.mark.parametrize("limit", LIMITS)
def test_overload_is_the_servers_limit_and_no_tenants(metrics: Metrics, limit: str) -> None:
    """Whether it is met at the door or further in."""
    before = scraped(metrics.registry)
    metrics.refused("Chat", "RESOURCE_EXHAUSTED", "OVERLOADED", limit)
    metrics.ended(
        Record("Chat", code="RESOURCE_EXHAUSTED", reason="OVERLOADED", facts={"refused_by": limit})
    )
    after = scraped(metrics.registry)
    own = limit == "concurrent_calls"
    for alert, is_its in (("TurnkeepOverloaded", own), ("TurnkeepTenantAtItsLimit", not own)):
        (selector,) = selectors(alert)
        assert increased(selector, before, after) == 2 * is_its


def test_a_flood_of_refusals_does_not_hide_failures(metrics: Metrics) -> None:
    """Half of those who are let in fail, beside 9,000 who are not, and strangers."""
    failed, served = selectors("TurnkeepErrorRatioHigh")
    for code in ("OK", "UNAVAILABLE"):
        metrics.ended(Record("Chat", code=code, reason="" if code == "OK" else "MODEL_UNAVAILABLE"))
    refusals = (
        ("RESOURCE_EXHAUSTED", "OVERLOADED", "requests_per_second"),
        ("UNAVAILABLE", "SHUTTING_DOWN", ""),
        ("UNAUTHENTICATED", "BAD_CREDENTIALS", ""),
    )
    for refusal in refusals:
        metrics.refused("Chat", *refusal)
    before = scraped(metrics.registry)
    for refusal in refusals * 3_000:
        metrics.refused("Chat", *refusal)
    for _ in range(50):
        metrics.ended(Record("Chat", code="OK"))
        metrics.ended(Record("Chat", code="UNAVAILABLE", reason="MODEL_UNAVAILABLE"))
    after = scraped(metrics.registry)
    assert increased(failed, before, after) / increased(served, before, after) == 0.5
