"""One way to break each policy on pods."""

from k8s import policies_pods as pods
from k8s.breaking import Breaks, container, pod_of, variable, without
from k8s.rendered import named

BREAKS: Breaks = {
    "root": (
        "base",
        pods.hardened,
        lambda it: pod_of(it, "api")["securityContext"].update(runAsUser=0, runAsNonRoot=False),
    ),
    "a user of somebody else": (
        "base",
        pods.hardened,
        lambda it: pod_of(it, "worker")["securityContext"].update(runAsUser=1000),
    ),
    "no seccomp": (
        "base",
        pods.hardened,
        lambda it: pod_of(it, "proxy")["securityContext"].pop("seccompProfile"),
    ),
    "a writable root": (
        "base",
        pods.hardened,
        lambda it: container(it, "api")["securityContext"].update(readOnlyRootFilesystem=False),
    ),
    "a capability": (
        "base",
        pods.hardened,
        lambda it: container(it, "proxy")["securityContext"]["capabilities"].update(
            add=["NET_BIND_SERVICE"]
        ),
    ),
    "capabilities kept": (
        "base",
        pods.hardened,
        lambda it: container(it, "api")["securityContext"].pop("capabilities"),
    ),
    "escalation": (
        "base",
        pods.hardened,
        lambda it: container(it, "api")["securityContext"].update(allowPrivilegeEscalation=True),
    ),
    "a privileged container": (
        "base",
        pods.hardened,
        lambda it: container(it, "api")["securityContext"].update(privileged=True),
    ),
    "a writable root of what runs first": (
        "base",
        pods.hardened,
        lambda it: pod_of(it, "api")["initContainers"][0].pop("securityContext"),
    ),
    "no memory limit": (
        "base",
        pods.limited,
        lambda it: container(it, "api")["resources"].pop("limits"),
    ),
    "no request": (
        "base",
        pods.limited,
        lambda it: container(it, "worker")["resources"]["requests"].pop("cpu"),
    ),
    "no readiness": ("base", pods.probed, lambda it: container(it, "api").pop("readinessProbe")),
    "no startup": ("base", pods.probed, lambda it: container(it, "worker").pop("startupProbe")),
    "liveness that asks the database": (
        "base",
        pods.probed,
        lambda it: container(it, "api")["livenessProbe"]["httpGet"].update(
            path="/api/health/ready"
        ),
    ),
    "a probe of a port that is not there": (
        "base",
        pods.probed,
        lambda it: container(it, "api")["startupProbe"]["httpGet"].update(port="web"),
    ),
    "no pause before the end": (
        "base",
        pods.graceful,
        lambda it: container(it, "proxy").pop("lifecycle"),
    ),
    "no time to end": (
        "base",
        pods.graceful,
        lambda it: pod_of(it, "api").update(terminationGracePeriodSeconds=30),
    ),
    "a folder of the node": (
        "base",
        pods.isolated,
        lambda it: pod_of(it, "api")["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    ),
    "the network of the node": (
        "base",
        pods.isolated,
        lambda it: pod_of(it, "proxy").update(hostNetwork=True),
    ),
    "a port of the node": (
        "base",
        pods.isolated,
        lambda it: container(it, "proxy")["ports"][0].update(hostPort=80),
    ),
    "a token": (
        "base",
        pods.tokenless,
        lambda it: pod_of(it, "api").update(automountServiceAccountToken=True),
    ),
    "an account with a token": (
        "base",
        pods.tokenless,
        lambda it: named(it, "ServiceAccount", "api").pop("automountServiceAccountToken"),
    ),
    "somebody else's account": (
        "base",
        pods.tokenless,
        lambda it: pod_of(it, "api").update(serviceAccountName="default"),
    ),
    "service links": (
        "base",
        pods.tokenless,
        lambda it: pod_of(it, "worker").pop("enableServiceLinks"),
    ),
    "the latest image": (
        "base",
        pods.pinned,
        lambda it: container(it, "api").update(image="informania/backend:latest"),
    ),
    "an image without a version": (
        "production",
        pods.pinned,
        lambda it: named(it, "Cluster", "postgres")["spec"].update(imageName="host:5000/pg"),
    ),
    "no budget": (
        "base",
        pods.spread,
        lambda it: without(it, "PodDisruptionBudget", "streamlit"),
    ),
    "all on one machine": (
        "base",
        pods.spread,
        lambda it: pod_of(it, "api").pop("topologySpreadConstraints"),
    ),
    "two writers of the hot store": (
        "base",
        pods.hot_store_is_single,
        lambda it: named(it, "Deployment", "api-hot")["spec"].update(replicas=2),
    ),
    "a writer beside its successor": (
        "base",
        pods.hot_store_is_single,
        lambda it: named(it, "Deployment", "api-hot")["spec"].update(strategy={}),
    ),
    "the hot store elsewhere": (
        "base",
        pods.hot_store_is_single,
        lambda it: variable(it, "api", "LMDB_DIR", "/var/lib/informania/lmdb"),
    ),
    "a hot store for many": (
        "base",
        pods.hot_store_is_single,
        lambda it: named(it, "PersistentVolumeClaim", "hot-store")["spec"].update(
            accessModes=["ReadWriteMany"]
        ),
    ),
}
