"""One way to break each policy on addresses, ports, settings and secrets."""

from k8s import policies_settings as told
from k8s import policies_wiring as wiring
from k8s.breaking import Breaks, container, platform, pod_of, policy, variable, without
from k8s.checks import (
    base_arrows,
    production_arrows,
    production_secrets,
    trial_arrows,
    trial_secrets,
)
from k8s.rendered import PROCESS, named

BREAKS: Breaks = {
    "another port": (
        "base",
        wiring.ports_agree,
        lambda it: container(it, "api")["ports"][0].update(containerPort=8001),
    ),
    "a Service on another port": (
        "base",
        wiring.ports_agree,
        lambda it: named(it, "Service", "proxy")["spec"]["ports"][0].update(port=80),
    ),
    "a Service of the test face": (
        "trial",
        wiring.ports_agree,
        lambda it: named(it, "Service", "paper")["spec"]["ports"].append(
            {"name": "test", "port": 5613, "targetPort": "test"}
        ),
    ),
    "a Service of nobody": (
        "base",
        wiring.selectors_match,
        lambda it: named(it, "Service", "api")["spec"].update(selector={PROCESS: "apis"}),
    ),
    "a budget of nobody": (
        "base",
        wiring.selectors_match,
        lambda it: without(it, "Deployment", "worker"),
    ),
    "everything open": (
        "base",
        wiring.denied_by_default,
        lambda it: without(it, "NetworkPolicy", "default-deny"),
    ),
    "a way too many": (
        "base",
        base_arrows,
        lambda it: policy(it, "streamlit")["egress"].append(
            {
                "to": [{"podSelector": {"matchLabels": {PROCESS: "postgres"}}}],
                "ports": [{"port": 5432}],
            }
        ),
    ),
    "a way too few": ("base", base_arrows, lambda it: policy(it, "worker")["egress"].pop()),
    "a way that ends at a closed door": (
        "trial",
        trial_arrows,
        lambda it: without(it, "NetworkPolicy", "api-trial"),
    ),
    "the operator shut out": (
        "production",
        production_arrows,
        lambda it: without(it, "NetworkPolicy", "postgres-operator"),
    ),
    "an address of nobody": (
        "base",
        wiring.addresses_are_open,
        lambda it: variable(it, "proxy", "API_UPSTREAM", "apis:8000"),
    ),
    "an address behind a closed door": (
        "base",
        wiring.addresses_are_open,
        lambda it: platform(it, POOL_HOST="postgres", POOL_PORT="5432"),
    ),
    "a screen that the proxy does not know": (
        "base",
        wiring.screens_are_named,
        lambda it: named(it, "StatefulSet", "streamlit")["spec"].update(replicas=3),
    ),
    "a name of somebody else": (
        "production",
        wiring.host_is_public,
        lambda it: platform(it, PUBLIC_URL="https://trade.example.com"),
    ),
    "a setting that nobody knows": (
        "base",
        told.settings_known,
        lambda it: variable(it, "api", "DATABSE_HOST", "postgres"),
    ),
    "a setting of another process": (
        "base",
        told.settings_known,
        lambda it: variable(it, "worker", "API_UPSTREAM", "api:8000"),
    ),
    "a key that nobody reads": (
        "base",
        told.settings_known,
        lambda it: platform(it, LOG_FORMAT="json"),
    ),
    "a key that is not there": (
        "base",
        told.settings_known,
        lambda it: named(it, "ConfigMap", "platform")["data"].pop("QC_URL"),
    ),
    "a map that is not there": (
        "base",
        told.maps_exist,
        lambda it: it.remove(named(it, "ConfigMap", "pgbouncer")),
    ),
    "a mount of no volume": (
        "base",
        told.maps_exist,
        lambda it: pod_of(it, "api")["volumes"].pop(),
    ),
    "no anchors": (
        "base",
        told.anchors_stay,
        lambda it: variable(it, "worker", "ANCHOR_SINK", ""),
    ),
    "anchors that go with the pod": (
        "base",
        told.anchors_stay,
        lambda it: pod_of(it, "worker")["volumes"][-1].update(
            {"persistentVolumeClaim": {}, "emptyDir": {}}
        ),
    ),
    "anchors that one worker alone can write": (
        "base",
        told.anchors_stay,
        lambda it: named(it, "PersistentVolumeClaim", "anchors")["spec"].update(
            accessModes=["ReadWriteOnce"]
        ),
    ),
    "another's secrets": (
        "base",
        told.secrets_are_own,
        lambda it: pod_of(it, "api")["volumes"][0]["secret"].update(secretName="worker"),
    ),
    "secrets for everyone": (
        "base",
        told.secrets_are_own,
        lambda it: pod_of(it, "api")["volumes"][0]["secret"].pop("defaultMode"),
    ),
    "a secret in the environment": (
        "base",
        told.secrets_are_own,
        lambda it: container(it, "api")["env"].append(
            {"name": "QC_TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "x"}}}
        ),
    ),
    "a committed secret": (
        "base",
        told.no_secret_committed,
        lambda it: it.append({"kind": "Secret", "metadata": {"name": "api"}, "data": {}}),
    ),
    "a key too few": (
        "production",
        production_secrets,
        lambda it: named(it, "ExternalSecret", "api")["spec"]["data"].pop(),
    ),
    "a key too many": (
        "production",
        production_secrets,
        lambda it: named(it, "ExternalSecret", "worker")["spec"]["data"].append(
            {"secretKey": "postgres_password"}
        ),
    ),
    "a Secret that nobody makes": (
        "production",
        production_secrets,
        lambda it: without(it, "ExternalSecret", "streamlit"),
    ),
    "a Secret that a trial lacks": (
        "trial",
        trial_secrets,
        lambda it: pod_of(it, "paper")["volumes"][0]["secret"].update(secretName="papers"),
    ),
    "the paper venue in production": (
        "production",
        told.production_is_real,
        lambda it: platform(it, QC_URL="http://paper:5612/api/v2/"),
    ),
    "development in production": (
        "production",
        told.production_is_real,
        lambda it: platform(it, APP_ENV="dev"),
    ),
    "the demo image in production": (
        "production",
        told.production_is_real,
        lambda it: container(it, "worker").update(image="informania/demo:0.1.0"),
    ),
    "replayed prices in production": (
        "production",
        told.production_is_real,
        lambda it: container(it, "streamlit", "StatefulSet")["env"].append(
            {"name": "REPLAY_SESSION_SECONDS", "value": "600"}
        ),
    ),
}
