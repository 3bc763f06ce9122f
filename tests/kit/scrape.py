"""What a server tells Prometheus, asked as Prometheus asks."""

import asyncio
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.kit.server_process import ServerProcess

_METRICS_URL = re.compile(r"http://\S+/metrics")
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Scrape:
    """One answer: `text` as it came, and its samples by name and labels."""

    text: str
    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; 0 if there are none."""
        wanted = labels.items()
        return sum(
            value
            for (sample, has), value in self.samples.items()
            if sample == name and wanted <= set(has)
        )

    def labels_of(self, name: str) -> set[str]:
        """The names of the labels that samples of this name have."""
        return {label for (sample, labels) in self.samples for label, _ in labels if sample == name}

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {name for name, _ in self.samples}


def metrics_url(server: ServerProcess) -> str:
    """Where it says that Prometheus is answered. AssertionError if it says nothing."""
    found = _METRICS_URL.search(server.line)
    assert found, server.line
    return found[0]


async def scraped(server: ServerProcess) -> Scrape:
    """What it tells now."""
    url = metrics_url(server)
    text = await asyncio.to_thread(_get, url)
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return Scrape(text, samples)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - http: and loopback
        data: bytes = answer.read()
        return data.decode()
