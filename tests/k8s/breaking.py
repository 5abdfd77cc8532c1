"""Ways to break what was rendered, for the tests that show each policy to complain."""

from collections.abc import Callable

from k8s.rendered import Check, Object, Objects, named, pod

Break = Callable[[Objects], object]
# What is broken, in which folder, and the check that finds it.
Breaks = dict[str, tuple[str, Check, Break]]


def container(objects: Objects, process: str, kind: str = "Deployment") -> Object:
    """Return the main container of a process."""
    main: Object = pod(named(objects, kind, process))["containers"][0]
    return main


def pod_of(objects: Objects, process: str, kind: str = "Deployment") -> Object:
    """Return the pod of a process."""
    return pod(named(objects, kind, process))


def policy(objects: Objects, name: str) -> Object:
    """Return what a network policy says."""
    spec: Object = next(
        it["spec"]
        for it in objects
        if it["kind"] == "NetworkPolicy" and it["metadata"]["name"] == name
    )
    return spec


def without(objects: Objects, kind: str, name: str) -> None:
    """Take an object away."""
    objects[:] = [
        it for it in objects if not (it["kind"] == kind and it["metadata"]["name"] == name)
    ]


def variable(objects: Objects, process: str, name: str, value: str) -> None:
    """Set a variable of a process."""
    rows = container(objects, process)["env"]
    rows[:] = [row for row in rows if row["name"] != name] + [{"name": name, "value": value}]


def platform(objects: Objects, **values: str) -> None:
    """Set keys of the config map."""
    named(objects, "ConfigMap", "platform")["data"].update(values)
