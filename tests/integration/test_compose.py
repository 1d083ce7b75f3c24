"""
The compose files: what they mount is there, and what is mounted fits together.

No Docker is needed. What a container would see of the project is laid out below a scratch
folder, at the paths that it has in the container.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, start_http_server

from exporter.config import DemoSettings, ServeSettings
from exporter.values import ListenAddress
from grafana.source.expressions import dashboards, panels
from tests.conftest import Told, needs
from tests.dockerfile import STAGES
from tests.observed import Watcher
from tests.processes import CLOSING_SECONDS, PROJECT
from tests.servers import eventually

COMPOSE = PROJECT / "deploy/compose"
DEMO = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVE = yaml.safe_load((COMPOSE / "serve.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = DEMO["services"]
FILES = {"compose.yaml": DEMO, "serve.yaml": SERVE}

RULE_FILES = sorted((PROJECT / "deploy/prometheus").glob("*.yml"))

_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


class Mount(NamedTuple):
    """
    A file or folder of the project in a container.
    """

    source: Path
    target: str
    mode: str

    @property
    def below(self) -> str:
        """
        Its place below a folder that stands for the container's root.
        """
        return self.target.lstrip("/")


def mounts(service: str) -> list[Mount]:
    """
    What a service sees of the project; volumes have a name instead of a path.
    """
    volumes = [volume.split(":") for volume in SERVICES[service].get("volumes", ())]
    return [
        Mount(COMPOSE / source, target, "".join(mode))
        for source, target, *mode in volumes
        if source.startswith(".")
    ]


def laid_out(service: str, root: Path) -> Path:
    """
    A folder as the root of the service's container, with what is mounted in it.
    """
    for mount in mounts(service):
        copied = shutil.copytree if mount.source.is_dir() else shutil.copyfile
        (root / mount.below).parent.mkdir(parents=True, exist_ok=True)
        copied(mount.source, root / mount.below)
    return root


def published(service: str, **variables: str) -> list[str]:
    """
    The ports of a service, ``address:port:port``, under these variables.
    """
    return [
        _VARIABLE.sub(lambda found: variables.get(found[1], found[2]), written)
        for written in SERVICES[service]["ports"]
    ]


def port(service: str) -> int:
    """
    The port that a service listens on in its container.
    """
    (address,) = published(service)
    return int(address.rpartition(":")[2])


def seconds(duration: str) -> float:
    """
    A duration of whole seconds.
    """
    assert duration.endswith("s")
    return float(duration[:-1])


def scrape() -> dict[str, Any]:
    """
    The one job of Prometheus, with the interval that holds for it.
    """
    config = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    return {**config["global"], **job}


def data_source() -> dict[str, Any]:
    """
    The one data source that Grafana is given.
    """
    (source,) = yaml.safe_load((COMPOSE / "grafana/datasources.yml").read_text())["datasources"]
    return dict(source)


def serve_env() -> dict[str, str]:
    """
    The variables of the README's ``serve.env``.
    """
    blocks = re.findall(r"```sh\n(.*?)```", (COMPOSE / "README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if block.startswith("CODECOMMIT_EXPORTER_")]
    return dict(line.split("=", 1) for line in block.splitlines())


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_mounted_is_there_and_cannot_be_written(service: str) -> None:
    """
    Docker would make an empty folder of a path that is missing.
    """
    assert [] == [mount.source for mount in mounts(service) if not mount.source.exists()]
    assert {"ro"} >= {mount.mode for mount in mounts(service)}


@pytest.mark.parametrize("file", FILES)
def test_every_volume_is_declared(file: str) -> None:
    """
    A volume with a name stands under ``volumes``, and none stands there in vain.
    """
    used = {
        volume.split(":")[0]
        for service in FILES[file]["services"].values()
        for volume in service.get("volumes", ())
    }

    assert {*FILES[file]["volumes"]} == {name for name in used if not name.startswith(".")}


@pytest.mark.parametrize("service", SERVICES)
def test_only_this_machine_is_served_unless_told_otherwise(service: str) -> None:
    """
    One variable names another address and port.
    """
    inside = port(service)
    elsewhere = published(service, **{f"{service.upper()}_ADDRESS": "0.0.0.0:80"})

    assert [f"127.0.0.1:{inside}:{inside}"] == published(service)
    assert [f"0.0.0.0:80:{inside}"] == elsewhere


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_may_do_little(service: str) -> None:
    """
    It writes nowhere but where it is given room, has no capability and gains none.
    """
    has = SERVICES[service]

    assert has["read_only"]
    assert ["ALL"] == has["cap_drop"]
    assert ["no-new-privileges:true"] == has["security_opt"]
    assert not {"cap_add", "devices", "network_mode", "pid", "privileged", "user"} & {*has}


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_tells_how_it_is(service: str) -> None:
    """
    What is built here has its check in the image.
    """
    has = SERVICES[service]

    assert ("healthcheck" in has) != ("build" in has)


@pytest.mark.parametrize("service", [name for name in SERVICES if "healthcheck" in SERVICES[name]])
def test_a_health_check_asks_the_service_itself(service: str) -> None:
    """
    At the port that it listens on in its container.
    """
    *_, url = SERVICES[service]["healthcheck"]["test"]

    assert ("127.0.0.1", port(service)) == (urlsplit(url).hostname, urlsplit(url).port)


def test_grafana_waits_until_prometheus_answers() -> None:
    """
    Its first page has something to show; Prometheus itself need not wait for what it scrapes.
    """
    assert {"prometheus": {"condition": "service_healthy"}} == SERVICES["grafana"]["depends_on"]
    assert ["exporter"] == SERVICES["prometheus"]["depends_on"]


def test_what_is_written_has_room() -> None:
    """
    Prometheus keeps its samples on its volume, Grafana its database in memory, as its own user.
    """
    (path,) = re.findall(
        r"--storage\.tsdb\.path=(\S+)", " ".join(SERVICES["prometheus"]["command"])
    )

    assert f"prometheus:{path}" in SERVICES["prometheus"]["volumes"]
    assert "/var/lib/grafana:mode=1777" in SERVICES["grafana"]["tmpfs"]


def test_only_what_is_real_comes_back_with_the_machine() -> None:
    """
    The demo keeps all that it invents in memory, and stays away until somebody wants it.
    """
    assert {} == {name: has["restart"] for name, has in SERVICES.items() if "restart" in has}
    assert dict.fromkeys(SERVICES, "unless-stopped") == {
        name: has["restart"] for name, has in SERVE["services"].items()
    }


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_built_here_or_has_a_version(service: str) -> None:
    """
    Nothing changes by itself.
    """
    has = SERVICES[service]

    assert ("image" in has) != ("build" in has)
    assert "build" in has or re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", has["image"])


def test_the_images_stages_are_those_asked_for() -> None:
    """
    The demo has a stage of its own, and ``serve`` the last one, without a demo in it.
    """
    demo = SERVICES["exporter"]["build"]
    serve = SERVE["services"]["exporter"]["build"]
    *others, last = STAGES

    assert PROJECT == (COMPOSE / demo["context"]).resolve()
    assert demo["target"] in others
    assert serve["target"] == last
    assert STAGES[demo["target"]].health_check == STAGES[last].health_check


def test_the_demo_understands_its_command(told: Told) -> None:
    """
    It listens where Prometheus asks, and a stop has the time it needs.
    """
    exporter = SERVICES["exporter"]
    settings: DemoSettings = told(exporter["command"])
    grace = settings.shutdown.grace + CLOSING_SECONDS

    assert (ListenAddress("", port("exporter")),) == settings.web.listen_address
    assert ["exporter:10112"] == scrape()["static_configs"][0]["targets"]
    assert seconds(exporter["stop_grace_period"]) >= grace


def test_serve_understands_what_the_readme_gives_it(told: Told) -> None:
    """
    It keeps its ledger on a volume and backs it up, and listens and stops as the demo does.
    """
    exporter = SERVICES["exporter"] | SERVE["services"]["exporter"]
    (volume,) = exporter["volumes"]
    state = STAGES["serve"].variables["STATE_DIRECTORY"]
    settings: ServeSettings = told(exporter["command"], STATE_DIRECTORY=state, **serve_env())
    grace = settings.shutdown.grace + CLOSING_SECONDS

    assert ["serve.env"] == exporter["env_file"]
    assert f"state:{settings.state.directory}" == volume
    assert settings.ledger.backup_url
    assert (ListenAddress("", port("exporter")),) == settings.web.listen_address
    assert seconds(exporter["stop_grace_period"]) >= grace


def test_scrapes_come_as_often_as_the_hold_wants(told: Told) -> None:
    """
    Two of them fall into the hold of a new series, and Grafana knows how often they come.
    """
    settings: DemoSettings = told(SERVICES["exporter"]["command"])
    interval = scrape()["scrape_interval"]

    assert settings.metrics.new_series_hold >= 2 * seconds(interval)
    assert interval == data_source()["jsonData"]["timeInterval"]


def test_the_job_is_the_one_that_the_rules_ask_for() -> None:
    """
    Each of their matchers fits its name, and its series belong to no container.
    """
    rules = "".join(path.read_text() for path in RULE_FILES)
    matchers = {*re.findall(r'\bjob=~"([^"]*)"', rules)}

    assert matchers
    assert [] == [job for job in matchers if not re.fullmatch(job, scrape()["job_name"])]
    assert [{"target_label": "instance", "replacement": "codecommit"}] == (
        scrape()["relabel_configs"]
    )


def test_promtool_accepts_the_configuration_as_it_is_mounted(promtool: str, tmp_path: Path) -> None:
    """
    Prometheus finds its file where its command says, and all rule files from there.
    """
    (file,) = re.findall(r"--config\.file=(\S+)", " ".join(SERVICES["prometheus"]["command"]))
    root = laid_out("prometheus", tmp_path)
    found = subprocess.run(
        [promtool, "check", "config", root / file.lstrip("/")],
        capture_output=True,
        text=True,
        check=False,
    )
    checked = re.findall(r"^Checking .*/(\S+)$", found.stdout, re.MULTILINE)

    assert 0 == found.returncode, found.stdout + found.stderr
    assert {"prometheus.yml", *(path.name for path in RULE_FILES)} == {*checked}


def test_the_data_source_is_the_one_that_the_dashboards_choose() -> None:
    """
    Each asks for the default one of its type, and it is the Prometheus beside Grafana.
    """
    source = data_source()
    variables = [
        variable
        for dashboard in dashboards().values()
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "datasource"
    ]
    asked = {
        tuple(panel["datasource"].values())
        for dashboard in dashboards().values()
        for panel in panels(dashboard)
    }
    url = urlsplit(source["url"])

    assert source["isDefault"]
    assert {("datasource", source["type"], None)} == {
        (variable["name"], variable["query"], variable.get("current")) for variable in variables
    }
    assert {(source["type"], "${datasource}")} == asked
    assert ("prometheus", port("prometheus")) == (url.hostname, url.port)


def test_grafana_finds_the_dashboards_and_begins_with_one(tmp_path: Path) -> None:
    """
    The provider reads the folder they are mounted in, in which there is no other JSON.
    """
    root = laid_out("grafana", tmp_path)
    provisioning = root / "etc/grafana/provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards/codecommit.yml").read_text())[
        "providers"
    ]
    found = sorted((root / provider["options"]["path"].lstrip("/")).rglob("*.json"))
    identifiers = [dashboard["uid"] for dashboard in dashboards().values()]
    home = urlsplit(SERVICES["grafana"]["environment"]["GF_USERS_HOME_PAGE"])

    assert [*(provisioning / "datasources").glob("*.yml")]
    assert sorted(f"{name}.json" for name in dashboards()) == [path.name for path in found]
    assert sorted({*identifiers}) == sorted(identifiers)
    assert home.path.removeprefix("/d/") in identifiers


def test_nobody_can_log_in_to_grafana() -> None:
    """
    Everybody may look, and nobody can become somebody who may do more.
    """
    environment = SERVICES["grafana"]["environment"]

    assert {
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_AUTH_BASIC_ENABLED": "false",
        "GF_AUTH_DISABLE_LOGIN_FORM": "true",
    } == {name: value for name, value in environment.items() if name.startswith("GF_AUTH_")}


class Composed(Watcher):
    """
    A Prometheus with the command and the files of its service; its log is its own.

    Args:
        binary: the program.
        root: stands for the root of its container.
        target: what is scraped in the exporter's place, ``host:port``.

    """

    def __init__(self, binary: str, root: Path, target: str) -> None:
        super().__init__(binary, root / "own", (), interval=0.5)
        laid_out("prometheus", root)
        file = root / "etc/prometheus/prometheus.yml"
        # Sooner than in the demo: nobody is to wait five seconds for the first scrape.
        text = file.read_text().replace("exporter:10112", target)
        file.write_text(text.replace("scrape_interval: 5s", "scrape_interval: 500ms"))
        flags = [flag.replace("=/", f"={root}/") for flag in SERVICES["prometheus"]["command"]]
        self._command = [binary, *flags, "--web.listen-address=127.0.0.1:0"]


def test_prometheus_scrapes_with_this_configuration(tmp_path: Path) -> None:
    """
    It loads every rule, keeps exemplars, and knows the exporter by one name.
    """
    binary = needs(os.environ.get("PROMETHEUS", "prometheus"))
    registry = CollectorRegistry()
    Counter("codecommit_events", "Events.", registry=registry).inc(exemplar={"event_id": "1"})
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        with Composed(binary, tmp_path, f"127.0.0.1:{server.server_port}") as prometheus:
            prometheus.until_ready()
            eventually(lambda: bool(prometheus.query("codecommit_events_total")), "a sample")
            (series,) = prometheus.query("codecommit_events_total")
            rules = prometheus.rules()
            exemplars = prometheus.exemplars("codecommit_events_total", 0, series.points[-1].at + 1)
            warnings = prometheus.warnings()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    loaded = [
        rule["record" if "record" in rule else "alert"]
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]

    assert ("codecommit", "codecommit") == (series.labels["job"], series.labels["instance"])
    assert sorted(loaded) == sorted(rule.name for rule in rules)
    assert [{"event_id": "1"}] == [exemplar["labels"] for exemplar in exemplars]
    assert [] == warnings
