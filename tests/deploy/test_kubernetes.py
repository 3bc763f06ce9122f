"""deploy/kubernetes: valid by Kubernetes' own schemas, and what docs/operations.md says of it."""

import re
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from opentelemetry.exporter.otlp.proto.http.trace_exporter import DEFAULT_ENDPOINT

from scripts.prometheus_rule import prometheus_rule
from tests.deploy.manifests import OVERLAYS, ROOT, Manifest, built, one
from turnkeep_server.setting_variables import described_settings

VERSIONS = ("1.30", "1.33")
# Kinds that operators bring: Kubernetes has no schema of them.
FOREIGN = {"ServiceMonitor", "PrometheusRule", "Certificate", "ExternalSecret"}
LAST_WRITES_SECONDS = 20


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_is_valid(overlay: str, version: str) -> None:
    """Strictly: a field that Kubernetes does not know is an error, not ignored."""
    checked = [each for each in built(overlay) if each["kind"] not in FOREIGN]
    assert len(checked) >= 5
    for each in checked:
        kubernetes_validate.validate(each, version, strict=True)


def test_a_manifest_with_a_mistake_is_found() -> None:
    """The check itself: a misspelt field fails it."""
    wrong = {**one("production", "PodDisruptionBudget"), "spec": {"maxUnavailabel": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_a_setting(overlay: str) -> None:
    known = {variable for variable, _, _ in described_settings()}
    (container,) = pod(overlay)["containers"]
    given = {each["name"] for each in container.get("env", ())}
    given |= one(overlay, "ConfigMap", "turnkeep-settings")["data"].keys()
    assert given >= {"TURNKEEP_LISTEN", "TURNKEEP_HISTORY_URL"}
    assert given <= known


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pod_meets_the_restricted_profile(overlay: str) -> None:
    """kubernetes.io/docs/concepts/security/pod-security-standards, and a read-only root."""
    of_pod = pod(overlay)
    (container,) = of_pod["containers"]
    assert of_pod["securityContext"]["runAsNonRoot"]
    assert of_pod["securityContext"]["runAsUser"] == 10001
    assert of_pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not of_pod["automountServiceAccountToken"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_has_the_time_that_its_drain_takes(overlay: str) -> None:
    of_pod, given = pod(overlay), one(overlay, "ConfigMap", "turnkeep-settings")["data"]
    defaults = {variable: default for variable, default, _ in described_settings()}
    drain = sum(
        float(given.get(each, defaults[each]))
        for each in ("TURNKEEP_LAME_DUCK_SECONDS", "TURNKEEP_DRAIN_SECONDS")
    )
    pause = of_pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert of_pod["terminationGracePeriodSeconds"] >= pause + drain + LAST_WRITES_SECONDS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_and_services_name_ports_that_the_settings_open(overlay: str) -> None:
    (container,) = pod(overlay)["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    given = one(overlay, "ConfigMap", "turnkeep-settings")["data"]
    assert ports == {
        name: int(given[f"TURNKEEP_{variable}LISTEN"].rpartition(":")[2])
        for name, variable in (("grpc", ""), ("health", "HEALTH_"), ("metrics", "METRICS_"))
    }
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == ports["health"]
    for service in (each for each in built(overlay) if each["kind"] == "Service"):
        assert service["spec"]["clusterIP"] == "None"
        for each in service["spec"]["ports"]:
            assert ports[each["targetPort"]] == each["port"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_selects_the_pods_and_callers_are_not_asked_to_be_turnkeep(overlay: str) -> None:
    """kustomize can write a label into every selector, into those of other pods too."""
    deployment, policy = one(overlay, "Deployment"), one(overlay, "NetworkPolicy")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors.append(policy["spec"]["podSelector"]["matchLabels"])
    for each in built(overlay):
        if each["kind"] == "Service":
            selectors.append(each["spec"]["selector"])
        if each["kind"] == "PodDisruptionBudget":
            selectors.append(each["spec"]["selector"]["matchLabels"])
    assert all(each and each.items() <= labels.items() for each in selectors)
    callers = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    assert callers == {"turnkeep.dev/caller": "true"}


def test_the_policy_lets_out_what_the_documented_collector_and_the_defaults_need() -> None:
    """MongoDB, the provider, OTLP in both protocols; IPv6 as IPv4, and no cloud's metadata."""
    (policy,) = yaml.safe_load_all((ROOT / "deploy/kubernetes/base/network.yaml").read_text())
    kubernetes_validate.validate(policy, VERSIONS[-1], strict=True)
    (out,) = (each for each in policy["spec"]["egress"] if "ipBlock" in each["to"][0])
    page = (ROOT / "docs/telemetry.md").read_text()
    (documented,) = re.findall(r"OTEL_EXPORTER_OTLP_ENDPOINT=http://\S+:(\d+)", page)
    defaults = (DEFAULT_ENDPOINT, "http://localhost:4317")  # over HTTP, and over gRPC
    collectors = {int(documented), *(urlsplit(each).port for each in defaults)}
    assert {each["port"] for each in out["ports"]} == {27017, 443, *collectors}

    blocks = [each["ipBlock"] for each in out["to"]]
    assert [each["cidr"] for each in blocks] == ["0.0.0.0/0", "::/0"]
    for metadata in ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254"):
        address = ip_address(metadata)
        excepted = [ip_network(cidr) for block in blocks for cidr in block["except"]]
        assert any(address in network for network in excepted), metadata


def test_the_monitor_finds_the_service_of_the_metrics() -> None:
    monitor = one("production", "ServiceMonitor")["spec"]
    service = one("production", "Service", "turnkeep-metrics")
    wanted = monitor["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    names = {each["name"] for each in service["spec"]["ports"]}
    assert {each["port"] for each in monitor["endpoints"]} <= names
    # A pod that is not ready is what the alerts are about.
    assert service["spec"]["publishNotReadyAddresses"]


def test_the_rule_is_made_from_the_alerts() -> None:
    made = ROOT / "deploy/kubernetes/components/monitoring/prometheus-rule.yaml"
    alerts = ROOT / "deploy/prometheus/alerts.yaml"
    assert made.read_text() == prometheus_rule(alerts.read_text()), "run `make kubernetes`"


def test_no_secret_is_in_the_manifests() -> None:
    """They are referred to, and each by the name that is documented."""
    for folder in ("base", "components", "overlays"):
        for file in (ROOT / "deploy/kubernetes" / folder).rglob("*.yaml"):
            for each in yaml.safe_load_all(file.read_text()):
                assert each.get("kind") != "Secret", file
                assert "secretGenerator" not in each, file
    of_pod = pod("production")
    referred = {each["secret"]["secretName"] for each in of_pod["volumes"]}
    referred |= {
        each["valueFrom"]["secretKeyRef"]["name"] for each in of_pod["containers"][0]["env"]
    }
    page = (ROOT / "docs/operations.md").read_text()
    for name in referred:
        assert f"kubectl create secret generic {name} " in page or f"tls {name} " in page


def pod(overlay: str) -> Manifest:
    """The specification of a pod."""
    found: dict[str, Any] = one(overlay, "Deployment")["spec"]["template"]["spec"]
    return found
