"""What lies in deploy/: valid to Kubernetes, to Compose and to Dagster, and about the things that there are."""

from __future__ import annotations

import logging
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import compose_spec
import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.test_utils import freeze_time
from dagster._daemon.monitoring.concurrency import execute_concurrency_slots_iteration

from nba_ml.definitions import defs
from nba_ml.defs.assets.xgboost_model import TRAINING_POOL
from nba_ml.serving.http.service import ROUTES
from nba_ml_tests.deploy import chart
from nba_ml_tests.deploy.api_server import api_server
from nba_ml_tests.serving.test_image import pins

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOY = CHECKOUT / "deploy"
SERVICE = list(yaml.safe_load_all((DEPLOY / "kubernetes/service.yaml").read_text()))
VALUES = yaml.safe_load((DEPLOY / "kubernetes/values.yaml").read_text())
COMPOSE = yaml.safe_load((DEPLOY / "compose/docker-compose.yaml").read_text())

KUBERNETES = ("1.31", kubernetes_validate.latest_version())
"""`preStop.sleep` is in every cluster from 1.30 on."""


def kind(name: str) -> dict[str, Any]:
    [found] = [each for each in SERVICE if each["kind"] == name]
    return found


def valid(manifest: dict[str, Any]) -> None:
    for version in KUBERNETES:
        kubernetes_validate.validate(manifest, version, strict=True)


# --- the prediction service ----------------------------------------------------------------------------------


@pytest.mark.parametrize("manifest", SERVICE, ids=lambda manifest: manifest["kind"])
def test_each_manifest_is_valid(manifest: dict[str, Any]) -> None:
    """Guards against a field that Kubernetes refuses, or silently drops."""
    valid(manifest)


def test_the_manifests_speak_of_the_same_pods() -> None:
    """Guards a service that selects nothing, a probe of a missing address, and a budget that blocks drains."""
    deployment = kind("Deployment")["spec"]
    labels, [container] = deployment["template"]["metadata"]["labels"], deployment["template"]["spec"]["containers"]
    selectors = (
        deployment["selector"]["matchLabels"],
        kind("Service")["spec"]["selector"],
        kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    )
    assert all(selector.items() <= labels.items() for selector in selectors)
    assert kind("PodDisruptionBudget")["spec"]["minAvailable"] < deployment["replicas"]
    assert deployment["template"]["spec"]["serviceAccountName"] == kind("ServiceAccount")["metadata"]["name"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in kind("Service")["spec"]["ports"]} <= ports.keys()
    assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe")} <= {*ROUTES}
    dockerfile = (CHECKOUT / "nba_ml/serving/Dockerfile").read_text()
    assert f"EXPOSE {ports['http']}\n" in dockerfile
    assert f"USER {deployment['template']['spec']['securityContext']['runAsUser']}\n" in dockerfile


# --- Dagster's chart ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "deployment",
    [
        pytest.param(VALUES["dagster-user-deployments"]["deployments"][0], id="code server"),
        pytest.param(VALUES["dagsterWebserver"], id="web server"),
        pytest.param(VALUES["dagsterDaemon"], id="daemon"),
    ],
)
def test_the_charts_pods_are_valid(deployment: dict[str, Any]) -> None:
    """Guards against a misspelled limit, probe or security context, which the chart passes on as it is."""
    pod = chart.pod(deployment)
    valid(pod)
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    for container in pod["spec"]["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    assert f"USER {pod['spec']['securityContext']['runAsUser']}\n" in (DEPLOY / "Dockerfile").read_text()


def test_the_web_server_may_listen_on_its_port() -> None:
    """Guards the web server: it is not root and has no capability, so a port below 1024 is refused on many clusters."""
    web = VALUES["dagsterWebserver"]
    pod = web["podSecurityContext"]
    assert pod["runAsNonRoot"]
    allowed = {each["name"]: int(each["value"]) for each in pod["sysctls"]}
    assert web["service"]["port"] >= allowed["net.ipv4.ip_unprivileged_port_start"]


def test_people_reach_the_guarded_web_ui() -> None:
    """Guards a sidecar of another image, instance, database or store than those of the pods beside it."""
    [sidecar] = VALUES["dagsterWebserver"]["extraContainers"]
    [code] = VALUES["dagster-user-deployments"]["deployments"]
    assert sidecar["image"] == chart.image_of(code["image"])
    assert sidecar["args"][:2] == ["nba-ml", "ui"]
    home = VALUES["global"]["dagsterHome"]
    assert {f"{home}/dagster.yaml", str(Path(sidecar["args"][-1]).parent) + "/"} <= {
        mount["mountPath"] for mount in sidecar["volumeMounts"]
    }
    assert f"DAGSTER_HOME={home}" in (DEPLOY / "Dockerfile").read_text()
    store, password = sidecar["env"]
    assert store["value"] == code["env"][store["name"]]
    assert password["valueFrom"]["secretKeyRef"]["name"] == VALUES["global"]["postgresqlSecretName"]


@pytest.mark.parametrize("settings", [chart.dagster_yaml(VALUES), "compose"], ids=["kubernetes", "compose"])
def test_dagster_takes_the_instances_settings(
    settings: dict[str, Any] | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a setting that Dagster refuses when the first pod starts, and against two drivers of Postgres.

    The chart's own limit of runs was such a setting. A month that fails its checks was also run twice on Kubernetes.
    """
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "a b/c")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", COMPOSE["services"]["code"]["environment"]["DAGSTER_POSTGRES_URL"])
    text = (DEPLOY / "compose/dagster.yaml").read_text() if settings == "compose" else yaml.safe_dump(settings)
    (tmp_path / "dagster.yaml").write_text(text)
    ref = InstanceRef.from_dir(str(tmp_path))
    given: Any = ref.settings
    assert given["concurrency"]["runs"]["max_concurrent_runs"] > 1
    assert given["concurrency"]["pools"]["granularity"] == "op"
    assert given["run_retries"]["enabled"]
    assert not given["run_retries"]["retry_on_asset_or_op_failure"]
    assert given["telemetry"] == {"enabled": False}
    assert ref.storage_data is not None
    database = yaml.safe_load(ref.storage_data.config_yaml)
    scheme = database.get("postgres_db", {}).get("scheme") or os.environ[database["postgres_url"]["env"]]
    assert scheme.partition("://")[0] == "postgresql+psycopg2"


@pytest.mark.parametrize("settings", [chart.dagster_yaml(VALUES), "compose"], ids=["kubernetes", "compose"])
def test_a_killed_training_gives_its_place_in_the_pool_back(settings: dict[str, Any] | str, tmp_path: Path) -> None:
    """Guards the pool: Dagster keeps the place of a run whose process was killed, and one such run stopped all later
    trainings.
    """
    given = yaml.safe_load((DEPLOY / "compose/dagster.yaml").read_text()) if settings == "compose" else settings
    assert isinstance(given, dict)
    kept = {name: given[name] for name in ("concurrency", "run_monitoring", "run_retries", "telemetry")}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(kept))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        pools = instance.event_log_storage
        pools.initialize_concurrency_limit_to_default(TRAINING_POOL)
        run = instance.create_run_for_job(defs.resolve_job_def("monthly_model"), status=dg.DagsterRunStatus.STARTED)
        assert pools.claim_concurrency_slot(TRAINING_POOL, run.run_id, "xgboost_model").is_claimed
        instance.report_run_failed(run)  # what the monitoring does about a run whose pod is gone
        workspace: Any = SimpleNamespace(instance=instance)

        def look() -> int:
            list(execute_concurrency_slots_iteration(workspace, logging.getLogger(__name__)))
            return len(pools.get_concurrency_info(TRAINING_POOL).claimed_slots)

        assert look() == 1, "it may still be ending"
        with freeze_time(datetime.now(UTC) + timedelta(minutes=2)):
            assert look() == 0


@pytest.mark.slow
def test_the_launcher_makes_a_valid_job(tmp_path: Path) -> None:
    """Guards a run's pod: the launcher of the chart's settings creates it, through Kubernetes' own client."""
    with api_server(tmp_path / "kubeconfig") as created:
        settings = chart.dagster_yaml(VALUES)
        del settings["storage"], settings["compute_logs"]
        settings["run_launcher"]["config"] |= {
            "load_incluster_config": False,
            "kubeconfig_file": str(tmp_path / "kubeconfig"),
        }
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            image = chart.image_of(VALUES["dagster-user-deployments"]["deployments"][0]["image"])
            repository = RepositoryPythonOrigin(
                "python",
                ModuleCodePointer("nba_ml.definitions", "defs"),
                image,
                DEFAULT_DAGSTER_ENTRY_POINT,
                chart.container_context(VALUES),
            )
            run = instance.create_run_for_job(
                defs.resolve_job_def("monthly_chain"),
                tags={"dagster/partition": "2022-01"},
                job_code_origin=JobPythonOrigin("monthly_chain", repository),
            )
            instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    [(path, job)] = created
    assert path == f"/apis/batch/v1/namespaces/{chart.NAMESPACE}/jobs"
    valid(job)
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == image
    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    assert pod["serviceAccountName"] == VALUES["global"]["serviceAccountName"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["limits"]["memory"]
    [home] = re.findall(r"\bNBA_ML_HOME=(\S+)", (DEPLOY / "Dockerfile").read_text())
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp", home], (
        "where a large training writes"
    )
    secrets = [each["secretRef"]["name"] for each in container["envFrom"] if "secretRef" in each]
    assert secrets == ["nba-ml"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400


def test_trainings_are_in_the_pool_that_is_limited() -> None:
    """Guards the limit: without the pool, eight runs train at once on one node."""
    nodes = defs.resolve_implicit_global_asset_job_def().graph.node_defs
    trainings = {node.name for node in nodes if node.name.endswith("xgboost_model")}
    assert trainings
    assert {node.name for node in nodes if getattr(node, "pool", None) == TRAINING_POOL} == trainings


# --- one machine, images --------------------------------------------------------------------------------------


def test_compose_is_valid_and_all_its_files_are_there() -> None:
    """Guards against an option that Compose refuses, and a mount of a file that was moved: Docker makes it a folder."""
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(COMPOSE)).validate()
    assert {*COMPOSE["services"]} == {"postgres", "code", "webserver", "daemon", "service"}
    for service in COMPOSE["services"].values():
        for source in (volume.partition(":")[0] for volume in service.get("volumes", ())):
            assert source in COMPOSE["volumes"] or (DEPLOY / "compose" / source).is_file(), source
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        if "build" in service:
            context = DEPLOY / "compose" / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file()
            assert service["read_only"]
            [settings] = service["env_file"]  # without it BigQuery or a webhook could not be set
            assert settings["required"] is False
            assert f"/deploy/compose/{settings['path']}\n" in (CHECKOUT / ".gitignore").read_text()
    [location] = yaml.safe_load((DEPLOY / "compose/workspace.yaml").read_text())["load_from"]
    assert location["grpc_server"]["host"] in COMPOSE["services"]


def test_compose_waits_for_the_runs_in_the_code_server() -> None:
    """Guards a training under way: ten seconds after SIGTERM Docker kills the container in which it runs."""
    minutes = re.fullmatch("([0-9]+)m", COMPOSE["services"]["code"]["stop_grace_period"])
    assert minutes is not None
    assert int(minutes[1]) >= 5


def test_the_image_has_what_its_dockerfile_names() -> None:
    """Guards the image: a file that was moved, a user by name, other versions than the tested ones, or dev tools."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    sent = tuple(re.findall(r"^!(.+)$", (CHECKOUT / ".dockerignore").read_text(), re.MULTILINE))
    for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE):
        assert all((CHECKOUT / source).exists() and source.startswith(sent) for source in line.split()[:-1]), line
    [user] = re.findall(r"^USER (\d+)$", dockerfile, re.MULTILINE)
    assert f"--uid {user} " in dockerfile
    image, project = pins(DEPLOY / "requirements.lock"), pins(CHECKOUT / "requirements.lock")
    assert {name: entry for name, entry in image.items() if project.get(name) != entry} == {}
    assert {"dagster", "dagster-k8s", "dagster-postgres", "psycopg2-binary", "xgboost", "duckdb", "flit-core"} <= {
        *image
    }
    assert not {"pytest", "hypothesis", "mypy", "ruff", "kubernetes-validate"} & {*image}
    assert "://" not in (DEPLOY / "requirements.lock").read_text()
    chart_version = re.search(r"--version (\S+)", (DEPLOY / "kubernetes/values.yaml").read_text())
    assert chart_version is not None
    assert chart_version[1] == image["dagster"][0]


def test_every_setting_that_is_set_exists() -> None:
    """Guards against a variable that nothing reads."""
    known = (CHECKOUT / "docs/pages/reference/settings.md").read_text()
    texts = [file.read_text() for file in sorted(DEPLOY.rglob("*")) if file.suffix in {".yaml", ""} and file.is_file()]
    names = {name for text in texts for name in re.findall(r"\bNBA_ML_\w+", text)}
    assert "NBA_ML_ARTIFACT_ROOT" in names
    assert [name for name in sorted(names) if name not in known] == []
