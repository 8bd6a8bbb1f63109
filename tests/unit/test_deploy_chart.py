"""The chart as Helm renders it."""

from importlib.util import find_spec
from typing import Any

import pytest

from tests.unit.charts import Rendered, objects, render
from tests.unit.test_deploy import CHART, accepted, longest_stop

if find_spec("helm_python") is None:
    pytest.skip("helm-python-sdk is not installed", allow_module_level=True)

Objects = dict[tuple[str, str], Any]

IMAGE = {"image": {"repository": "agent", "tag": "1.0"}}
FULL: dict[str, Any] = {
    "image": IMAGE["image"] | {"pullSecrets": ["registry"]},
    "redis": {"secret": "redis"},
    "settings": {"TURNKEEPER_RUN_TIMEOUT": "1000000"},
    "envFrom": [{"secretRef": {"name": "models"}}],
    "drainTimeout": 300,
    "worker": {"jobs": 50, "autoscaling": {"kind": "hpa"}},
    "service": {"annotations": {"a": "b"}},
    "scheduling": {"nodeSelector": {"disk": "ssd"}},
}
KEDA: dict[str, Any] = IMAGE | {"worker": {"autoscaling": {"kind": "keda"}}}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "image.repository is missing"),
    ({"image": {"repository": "agent"}}, "image.tag is missing"),
    ({"image": {"repository": "agent", "tag": "latest"}}, "/image/tag"),
    (IMAGE | {"worker": {"replica": 3}}, "'replica' not allowed"),
    (IMAGE | {"worker": {"autoscaling": {"kind": "vpa"}}}, "/worker/autoscaling/kind"),
    (IMAGE | {"database": {"secret": ""}}, "/database/secret"),
    (IMAGE | {"settings": {"TURNKEEPER_MAX_BODY": 1000000}}, "/settings/TURNKEEPER_MAX_BODY"),
]


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return render(CHART, IMAGE, FULL, KEDA, *(values for values, _ in REFUSED))


@pytest.fixture(scope="module")
def plain(rendered: Rendered) -> Objects:
    return objects(rendered.texts[0])


@pytest.fixture(scope="module")
def full(rendered: Rendered) -> Objects:
    return objects(rendered.texts[1])


def pod(found: Objects, kind: str, name: str) -> Any:
    return found[kind, name]["spec"]["template"]["spec"]


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_helm_has_nothing_to_complain_of(rendered: Rendered) -> None:
    assert rendered.complaints == []


def test_what_a_release_consists_of(plain: Objects) -> None:
    assert set(plain) == {
        ("ConfigMap", "demo"),
        ("Deployment", "demo-api"),
        ("Deployment", "demo-worker"),
        ("Job", "demo-migrate"),
        ("PodDisruptionBudget", "demo-api"),
        ("PodDisruptionBudget", "demo-worker"),
        ("Service", "demo"),
    }


@pytest.mark.parametrize("role", ["api", "worker"])
def test_a_pod_has_its_role_and_its_database(full: Objects, role: str) -> None:
    (container,) = pod(full, "Deployment", f"demo-{role}")["containers"]
    given = environment(container)

    assert container["image"] == "agent:1.0"
    assert given["TURNKEEPER_ROLE"] == role
    assert given["TURNKEEPER_JOBS"] == "50"
    assert given["DATABASE_URI"] == {"secretKeyRef": {"name": "turnkeeper-database", "key": "uri"}}
    assert given["REDIS_URI"] == {"secretKeyRef": {"name": "redis", "key": "uri"}}
    assert container["envFrom"] == [{"configMapRef": {"name": "demo"}}, {"secretRef": {"name": "models"}}]
    assert {container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")} == {"/ok"}


def test_without_redis_nobody_looks_for_one(plain: Objects) -> None:
    assert "REDIS_URI" not in environment(pod(plain, "Deployment", "demo-api")["containers"][0])


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "api"), ("Deployment", "worker"), ("Job", "migrate")])
def test_no_pod_has_more_rights_than_it_needs(full: Objects, kind: str, name: str) -> None:
    spec = pod(full, kind, f"demo-{name}")
    (container,) = spec["containers"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert environment(container)["HOME"] == "/tmp"
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_a_pod_is_given_the_time_it_needs_to_stop(plain: Objects, full: Objects) -> None:
    for found in (plain, full):
        spec = pod(found, "Deployment", "demo-worker")
        given = environment(spec["containers"][0])
        before = float(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
        longest = longest_stop(float(given["TURNKEEPER_DRAIN_TIMEOUT"]), float(given["TURNKEEPER_CANCEL_GRACE"]))
        assert spec["terminationGracePeriodSeconds"] > before + longest


def test_the_database_is_migrated_before_pods_of_a_new_version_start(
    plain: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations = plain["Job", "demo-migrate"]["metadata"]["annotations"]
    (container,) = pod(plain, "Job", "demo-migrate")["containers"]

    assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "DATABASE_URI" in environment(container)
    monkeypatch.setenv("DATABASE_URI", "postgresql://db")
    accepted(container["args"])
    assert "envFrom" not in container, "the ConfigMap is not there yet"


def test_requests_go_to_the_pods_that_answer_them(plain: Objects) -> None:
    selector = plain["Service", "demo"]["spec"]["selector"]
    labels = {
        role: plain["Deployment", f"demo-{role}"]["spec"]["template"]["metadata"]["labels"]
        for role in ("api", "worker")
    }

    assert selector.items() <= labels["api"].items()
    assert not selector.items() <= labels["worker"].items()


@pytest.mark.parametrize("role", ["api", "worker"])
def test_what_selects_pods_selects_those_of_its_role(plain: Objects, role: str) -> None:
    deployment = plain["Deployment", f"demo-{role}"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]

    for selecting in (deployment, plain["PodDisruptionBudget", f"demo-{role}"]["spec"]):
        assert selecting["selector"]["matchLabels"].items() <= labels.items()
        assert selecting["selector"]["matchLabels"]["app.kubernetes.io/component"] == role


def test_workers_follow_the_queue(full: Objects) -> None:
    scaler = full["HorizontalPodAutoscaler", "demo-worker"]["spec"]

    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "demo-worker"}
    assert {
        each["external"]["metric"]["name"]: each["external"]["target"]["averageValue"] for each in scaler["metrics"]
    } == {"turnkeeper_runs_pending": "10", "turnkeeper_runs_running": "40"}
    assert "replicas" not in full["Deployment", "demo-worker"]["spec"], "an upgrade would undo what was scaled"


def test_workers_follow_the_queue_by_keda(rendered: Rendered) -> None:
    found = objects(rendered.texts[2])
    triggers = found["ScaledObject", "demo-worker"]["spec"]["triggers"]

    assert {each["metadata"]["connectionFromEnv"] for each in triggers} == {"DATABASE_URI"}
    assert [each["metadata"]["targetQueryValue"] for each in triggers] == ["10", "80"]
    assert "replicas" not in found["Deployment", "demo-worker"]["spec"]


def test_a_changed_setting_starts_pods_anew(plain: Objects, full: Objects) -> None:
    before, after = (
        found["Deployment", "demo-api"]["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
        for found in (plain, full)
    )

    assert before != after
    assert full["ConfigMap", "demo"]["data"] == {"TURNKEEPER_RUN_TIMEOUT": "1000000"}


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_wrong_values_are_refused_by_name(rendered: Rendered, number: int) -> None:
    message = rendered.texts[3 + number]

    assert isinstance(message, str)
    assert REFUSED[number][1] in message
