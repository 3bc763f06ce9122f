"""compose.yaml: what it sets are settings, and nothing runs as more than it must.

`make compose-check` has it checked against the specification, by its own library.
"""

import re

import yaml

from tests.deploy.manifests import ROOT, Manifest
from turnkeep_server.setting_variables import described_settings

LAST_WRITES_SECONDS = 20
KNOWN = {variable: default for variable, default, _ in described_settings()}


class _Loader(yaml.SafeLoader):
    """YAML with compose's own tags."""


_Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def services(file: str) -> dict[str, Manifest]:
    """The services of one file, those of Turnkeep."""
    found: dict[str, Manifest] = yaml.load((ROOT / file).read_text(), _Loader)["services"]  # noqa: S506  # a SafeLoader
    return {name: each for name, each in found.items() if name.startswith("turnkeep")}


def test_every_variable_is_a_setting() -> None:
    for file in ("compose.yaml", "compose.secure.yaml"):
        assert len(services(file)) == 2
        for each in services(file).values():
            assert each["environment"].keys() <= KNOWN.keys(), file


def test_two_servers_share_one_name_and_run_with_the_least() -> None:
    for each in services("compose.yaml").values():
        assert each["networks"]["default"]["aliases"] == ["turnkeep"]
        assert each["read_only"] is True
        assert each["cap_drop"] == ["ALL"]
        assert each["security_opt"] == ["no-new-privileges:true"]
        lame_duck = float(KNOWN["TURNKEEP_LAME_DUCK_SECONDS"])
        drain = each["environment"]["TURNKEEP_DRAIN_SECONDS"] + lame_duck
        assert int(each["stop_grace_period"].removesuffix("s")) >= drain + LAST_WRITES_SECONDS


def test_what_lets_everybody_in_is_on_loopback_alone() -> None:
    for each in services("compose.yaml").values():
        assert each["environment"]["TURNKEEP_INSECURE"] == "1"
        assert all(port.startswith("127.0.0.1:") for port in each["ports"])


def test_what_is_open_to_others_has_tls_and_identity() -> None:
    for each in services("compose.secure.yaml").values():
        environment = each["environment"]
        assert environment["TURNKEEP_INSECURE"] == environment["TURNKEEP_REFLECTION"] == "0"
        files = [value for name, value in environment.items() if name.endswith("_FILE")]
        assert len(files) == 3
        assert all(re.fullmatch(r"/etc/turnkeep/[\w.]+", name) for name in files)
