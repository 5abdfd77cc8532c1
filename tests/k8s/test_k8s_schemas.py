"""Everything rendered fits the schemas of the Kubernetes releases that are supported."""

from collections.abc import Iterator
from functools import cache

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from k8s.crd_schemas import SCHEMAS
from k8s.rendered import FOLDERS, ROOT, Object, Objects, named, parse, pod, render

# The oldest and the newest. Older ones know no `preStop.sleep` without a feature gate.
RELEASES = ("1.34", "1.37")


@pytest.fixture(scope="module", autouse=True)
def schemas_read_once() -> Iterator[None]:
    """Keep what was read: the library reads two megabytes of definitions for each object."""
    reads = kubernetes_validate.utils.schema_contents
    kubernetes_validate.utils.schema_contents = cache(reads)
    yield
    kubernetes_validate.utils.schema_contents = reads


def complaints(it: Object, release: str) -> list[str]:
    """Say what the strict schema of a release, or ours of an operator's kind, finds wrong."""
    kind, name = it["kind"], it["metadata"]["name"]
    try:
        if (it["apiVersion"], kind) in SCHEMAS:
            jsonschema.validate(it, SCHEMAS[it["apiVersion"], kind])
        else:
            kubernetes_validate.validate(it, release, strict=True)
    except jsonschema.ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path)
        return [f"{kind} {name}: {where}: {error.message[:200]}"]
    except kubernetes_validate.SchemaNotFoundError:
        return [f"{kind} {name}: {it['apiVersion']} is in no release"]
    return []


def everything() -> Objects:
    """Return each different object once, with those that no folder takes up by itself."""
    different = {str(it): it for folder in FOLDERS for it in render(folder)}
    classes = ROOT / "ops/k8s/secrets-store/csi/secret-provider-classes.yaml"
    return [*different.values(), *parse(classes.read_text())]


@pytest.mark.parametrize("release", RELEASES)
def test_all_objects_fit_the_schemas(release: str) -> None:
    """Unknown fields count as wrong: the API server would drop them without a word."""
    assert [it for found in everything() for it in complaints(found, release)] == []


def test_every_schema_of_an_operators_kind_is_used() -> None:
    """These are the only kinds that no schema of Kubernetes covers."""
    assert {(it["apiVersion"], it["kind"]) for it in everything()} >= set(SCHEMAS)


@pytest.mark.parametrize("release", RELEASES)
def test_a_wrong_field_is_found(release: str) -> None:
    """A misspelled field and a wrong type are refused."""
    objects = render("base")
    api = named(objects, "Deployment", "api")
    pod(api)["containers"][0]["readinesProbe"] = {}
    assert complaints(api, release) != []
    proxy = named(objects, "Deployment", "proxy")
    proxy["spec"]["replicas"] = "two"
    assert complaints(proxy, release) != []
    unknown = {"apiVersion": "apps/v9", "kind": "Deployment", "metadata": {"name": "x"}}
    assert complaints(unknown, release) != []


@pytest.mark.parametrize("kind", [kind for _, kind in SCHEMAS])
def test_a_wrong_field_of_an_operators_kind_is_found(kind: str) -> None:
    """Their schemas refuse what they do not know, too."""
    it = next(found for found in everything() if found["kind"] == kind)
    it["spec"]["sorage"] = {}
    assert complaints(it, RELEASES[-1]) != []
