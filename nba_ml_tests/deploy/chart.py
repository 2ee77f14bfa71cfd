"""What Dagster's Helm chart makes of deploy/kubernetes/values.yaml, as far as nba_ml depends on it.

Helm itself is not in the tests' environment. The names on both sides are those of the chart's templates for 1.13.
"""

from __future__ import annotations

from typing import Any

Values = dict[str, Any]

NAMESPACE = "nba-ml"

OWN_VOLUMES = [
    {"name": name, "configMap": {"name": config}}
    for name, config in (("dagster-instance", "dagster-instance"), ("dagster-workspace-yaml", "dagster-workspace-yaml"))
]
"""Of the web server's and the daemon's pods, for a release called dagster."""


def image_of(image: Values) -> str:
    return f"{image['repository']}:{image['tag']}"


def dagster_yaml(values: Values) -> Values:
    """The instance's settings: the chart's ConfigMap."""
    postgres, launcher = values["postgresql"], values["runLauncher"]["config"]["k8sRunLauncher"]
    logs, daemon = values["computeLogManager"]["config"]["gcsComputeLogManager"], values["dagsterDaemon"]
    concurrency = values.get("concurrency", {"enabled": False})
    coordinator = {"dequeue_use_threads": True, "dequeue_num_workers": 4}
    if not concurrency["enabled"]:
        coordinator["max_concurrent_runs"] = -1
    database = {
        "username": postgres["postgresqlUsername"],
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "hostname": postgres["postgresqlHost"],
        "db_name": postgres["postgresqlDatabase"],
        "port": postgres["service"]["port"],
        "scheme": postgres["postgresqlScheme"],
    }
    run = launcher["runK8sConfig"]
    monitoring, retries = daemon["runMonitoring"], daemon["runRetries"]
    return {
        "storage": {"postgres": {"postgres_db": database}},
        "run_launcher": {
            "module": "dagster_k8s",
            "class": "K8sRunLauncher",
            "config": {
                "load_incluster_config": True,
                "job_namespace": NAMESPACE,
                "image_pull_policy": launcher["imagePullPolicy"],
                "service_account_name": values["global"]["serviceAccountName"],
                "dagster_home": values["global"]["dagsterHome"],
                "instance_config_map": "dagster-instance",
                "postgres_password_secret": values["global"]["postgresqlSecretName"],
                "fail_pod_on_run_failure": launcher["failPodOnRunFailure"],
                "security_context": launcher["securityContext"],
                "run_k8s_config": {
                    "pod_spec_config": run["podSpecConfig"],
                    "job_spec_config": run["jobSpecConfig"],
                },
            },
        },
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": coordinator,
        },
        "compute_logs": {
            "module": "dagster_gcp.gcs.compute_log_manager",
            "class": "GCSComputeLogManager",
            "config": {
                "bucket": logs["bucket"],
                "prefix": logs["prefix"],
                "local_dir": logs["localDir"],
                "upload_interval": logs["uploadInterval"],
            },
        },
        "run_monitoring": {
            "enabled": monitoring["enabled"],
            "start_timeout_seconds": monitoring["startTimeoutSeconds"],
            "poll_interval_seconds": monitoring["pollIntervalSeconds"],
            "free_slots_after_run_end_seconds": monitoring["freeSlotsAfterRunEndSeconds"],
        },
        "run_retries": {
            "enabled": retries["enabled"],
            "max_retries": retries["maxRetries"],
            "retry_on_asset_or_op_failure": retries["retryOnAssetOrOpFailure"],
        },
        **({"concurrency": _concurrency(concurrency)} if concurrency["enabled"] else {}),
        "telemetry": {"enabled": values["telemetry"]["enabled"]},
        **values["additionalInstanceConfig"],
    }


def _concurrency(given: Values) -> Values:
    return {
        "pools": {"default_limit": given["pools"]["defaultLimit"], "granularity": given["pools"]["granularity"]},
        "runs": {"max_concurrent_runs": given["runs"]["maxConcurrentRuns"]},
    }


def container_context(values: Values) -> Values:
    """What the code server hands to its runs."""
    [deployment] = values["dagster-user-deployments"]["deployments"]
    return {
        "k8s": {
            "image_pull_policy": deployment["image"]["pullPolicy"],
            "env_config_maps": ["dagster-dagster-user-deployments-nba-ml-user-env"],
            "env_secrets": [each["name"] for each in deployment["envSecrets"]],
            "volume_mounts": deployment["volumeMounts"],
            "volumes": deployment["volumes"],
            "resources": deployment["resources"],
            "namespace": NAMESPACE,
            "service_account_name": values["global"]["serviceAccountName"],
            "run_k8s_config": {"pod_spec_config": {"automount_service_account_token": True}},
        }
    }


def pod(deployment: Values) -> Values:
    """A pod of a Deployment of the chart, with everything that the values can put into it."""
    probes: Values = {
        name: {"exec": {"command": ["dagster"]}, **deployment[name]}
        for name in ("readinessProbe", "startupProbe")
        if name in deployment
    }
    for probe in probes.values():
        probe.pop("enabled", None)  # the chart's own
    container = {
        "name": "dagster",
        "image": image_of(deployment["image"]),
        "imagePullPolicy": deployment["image"]["pullPolicy"],
        "securityContext": deployment["securityContext"],
        "resources": deployment["resources"],
        "volumeMounts": deployment["volumeMounts"],
        "env": [{"name": name, "value": value} for name, value in deployment.get("env", {}).items()],
        "envFrom": [{"secretRef": each} for each in deployment.get("envSecrets", ())],
        **probes,
    }
    spec = {
        "containers": [container, *deployment.get("extraContainers", ())],
        "volumes": [*deployment["volumes"], *OWN_VOLUMES],
        "securityContext": deployment["podSecurityContext"],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "dagster"}, "spec": spec}
