"""What is in `deploy/`, held against real schemas and the tools that read it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from gateway.observe.metrics import METRICS
from tests.functional.services import required

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ["base", "overlays/replicas", "overlays/rollouts", "overlays/gateway-api"]
CUSTOM = {"Rollout", "AnalysisTemplate", "HTTPRoute", "ServiceMonitor"}


def run(*words: str, cwd: Path = ROOT, **environ: str) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=cwd, check=False, timeout=300,
        env={**os.environ, **environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    return [each for each in YAML(typ="safe").load_all(text) if each]


def rendered(overlay: str) -> list[dict[str, Any]]:
    kustomize = shutil.which("kustomize")
    words = [kustomize, "build"] if kustomize else [required("kubectl"), "kustomize"]
    return documents(run(*words, str(DEPLOY / overlay)))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_what_kubernetes_takes(overlay: str) -> None:
    found = rendered(overlay)
    assert {"Deployment", "Service", "ConfigMap"} <= {each["kind"] for each in found}
    for each in found:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, "1.29", strict=True)
        assert each["metadata"]["namespace"] == "shop"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pod_is_as_said(overlay: str) -> None:
    deployment = next(each for each in rendered(overlay) if each["kind"] == "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not any("subPath" in mount for mount in container["volumeMounts"])
    assert pod["terminationGracePeriodSeconds"] >= 5 + 30 + 30
    assert container["readinessProbe"]["httpGet"]["path"] == "/-/ready"
    state = next(e for e in container["env"] if e["name"] == "GATEWAY_STATE")["value"]
    assert state.startswith("sqlite:////state/" if overlay == "base" else "redis://gateway-redis:")
    config = next(each for each in rendered(overlay) if each["kind"] == "ConfigMap")
    assert config["metadata"]["name"] == "gateway-config", "no hash: a change reloads, no rollout"


#: Kinds that aren't Kubernetes' own: the Go module that has their schema, and where in it.
MODULES = {
    "Rollout": ("github.com/argoproj/argo-rollouts@v1.8.3", "manifests/crds/rollout-crd.yaml"),
    "AnalysisTemplate": (
        "github.com/argoproj/argo-rollouts@v1.8.3", "manifests/crds/analysis-template-crd.yaml",
    ),
    "HTTPRoute": (
        "sigs.k8s.io/gateway-api@v1.3.0",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ),
    "ServiceMonitor": (
        "github.com/prometheus-operator/prometheus-operator@v0.82.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
}  # fmt: skip


def schema_of(kind: str, version: str, folder: Path) -> dict[str, Any]:
    """Return the schema that the kind's own project publishes, made strict as the API server is."""
    module, file = MODULES[kind]
    done = subprocess.run(
        [required("go"), "mod", "download", "-json", module],
        capture_output=True, text=True, cwd=folder, check=False, timeout=120,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"{module} can't be had: {done.stdout}{done.stderr}")
    text = (Path(json.loads(done.stdout)["Dir"]) / file).read_text()
    definition = next(d for d in documents(text) if d["spec"]["names"]["kind"] == kind)
    found = next(v for v in definition["spec"]["versions"] if v["name"] == version)
    schema: dict[str, Any] = found["schema"]["openAPIV3Schema"]
    schema["properties"].pop("metadata", None)
    _make_strict(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _make_strict(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("x-kubernetes-int-or-string"):
            node.pop("type", None)
        open_ended = node.get("x-kubernetes-preserve-unknown-fields")
        if node.get("type") == "object" and "properties" in node and not open_ended:
            node.setdefault("additionalProperties", False)
        for each in node.values():
            _make_strict(each)
    elif isinstance(node, list):
        for each in node:
            _make_strict(each)


@pytest.mark.parametrize("kind", MODULES)
def test_other_kinds_are_what_their_own_projects_take(kind: str, tmp_path: Path) -> None:
    found = [each for overlay in OVERLAYS for each in rendered(overlay)]
    found += documents((DEPLOY / "prometheus" / "service-monitor.yaml").read_text())
    mine = [each for each in found if each["kind"] == kind]
    assert mine
    schema = schema_of(kind, mine[0]["apiVersion"].rpartition("/")[2], tmp_path)
    for each in mine:
        errors = jsonschema.Draft202012Validator(schema).iter_errors(each)
        assert [f"{'/'.join(map(str, e.path))}: {e.message}" for e in errors] == []
    broken = {**mine[0], "spec": {**mine[0]["spec"], "unheard": 1}}
    assert not jsonschema.Draft202012Validator(schema).is_valid(broken), "it isn't strict"


def test_the_services_select_the_pods() -> None:
    found = rendered("overlays/rollouts")
    pod = next(e for e in found if e["kind"] == "Deployment")["spec"]["template"]
    for name in ("gateway", "gateway-canary"):
        service = next(e for e in found if e["kind"] == "Service" and e["metadata"]["name"] == name)
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    rollout = next(e for e in found if e["kind"] == "Rollout")
    templates = rollout["spec"]["strategy"]["canary"]["analysis"]["templates"]
    names = {e["metadata"]["name"] for e in found if e["kind"] == "AnalysisTemplate"}
    assert {each["templateName"] for each in templates} <= names


def test_the_mounted_config_is_the_demos() -> None:
    for name in ("gateway.yaml", "routes.lock"):
        assert (DEPLOY / "base" / name).read_text() == (ROOT / "config" / name).read_text()


def test_the_rules_are_prometheus_own() -> None:
    promtool = required("promtool")
    run(promtool, "check", "rules", "rules.yaml", cwd=DEPLOY / "prometheus")
    run(promtool, "test", "rules", "rules.test.yaml", cwd=DEPLOY / "prometheus")


def expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    found = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    rules = documents((DEPLOY / "prometheus" / "rules.yaml").read_text())[0]
    found += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    analysis = documents((DEPLOY / "overlays" / "rollouts" / "analysis.yaml").read_text())[0]
    return found + [m["provider"]["prometheus"]["query"] for m in analysis["spec"]["metrics"]]


def test_only_metrics_that_exist_are_asked_for() -> None:
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRICS}
    asked = set()
    for expression in expressions():
        asked |= set(re.findall(r"\bgateway_[a-z_]+\b", expression))
    assert asked, "nothing is asked for"
    assert {re.sub(r"_bucket$", "", name) for name in asked} <= names


def test_the_dashboards_panels_have_places_of_their_own() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_unit_is_systemds() -> None:
    analyze = shutil.which("systemd-analyze")
    text = (DEPLOY / "systemd" / "gateway.service").read_text()
    assert {"DynamicUser=yes", "KillMode=mixed", "ProtectSystem=strict"} <= set(text.splitlines())
    if analyze is None:
        return  # no machine that runs the tests is without it but small containers
    done = subprocess.run(
        [analyze, "verify", str(DEPLOY / "systemd" / "gateway.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if "gateway.service" in line]
    assert [line for line in lines if "is not executable" not in line] == []


# -- the image ----------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(None, 1)[1].strip()) for line in lines]


def test_the_image_is_as_said() -> None:
    found = instructions()
    names = [name for name, _ in found]
    assert names.count("FROM") == 2, "a stage to build, a stage to run"
    last = names[len(names) - 1 - names[::-1].index("FROM") :]
    assert "USER" in last
    assert dict(found)["USER"] == "10001:10001"
    assert not [v for n, v in found if n == "FROM" and v.endswith(":latest")]
    assert not [n for n in names if n == "ADD"]
    assert dict(found)["CMD"].startswith("[")
    assert not re.search(r"(?i)token|secret|password", dict(found)["ENV"])
    for name, value in found:
        if name == "COPY" and "--from" not in value:
            for source in value.split()[:-1]:
                assert (ROOT / source).exists(), source


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_images_steps_lead_to_a_gateway_that_runs(tmp_path: Path) -> None:
    """Without a builder: the same files in a clean folder, installed as the Dockerfile does."""
    build, target = tmp_path / "build", tmp_path / "opt"
    build.mkdir()
    first = [v for n, v in instructions()[: [n for n, _ in instructions()].index("RUN")]
             if n == "COPY"]  # fmt: skip
    for value in first:
        *sources, to = value.split()
        for source in sources:
            place = build / (Path(source).name if to in ("./", ".") else to)
            if (ROOT / source).is_dir():
                ignore = shutil.ignore_patterns("__pycache__", ".gateway")
                shutil.copytree(ROOT / source, place, ignore=ignore)
            else:
                shutil.copy(ROOT / source, place)
    venv.create(target, with_pip=True)
    install = next(v for n, v in instructions() if n == "RUN").split("/bin/pip", 1)[1]
    words = [str(target / "bin" / "pip"), *install.replace("'", "").split(), "--quiet"]
    run(*words, cwd=build)
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("gateway.yaml", "routes.lock"):
        shutil.copy(ROOT / "config" / name, etc)
    program = str(target / "bin" / "gateway")
    assert "ok" in run(program, "check", str(etc / "gateway.yaml"), cwd=tmp_path)
    where = run(
        str(target / "bin" / "python"),
        "-c",
        "import gateway; print(gateway.__file__)",
        cwd=tmp_path,
    )
    assert where.startswith(str(target)), "the installed one, not the folder's"
    installed = run(str(target / "bin" / "pip"), "list", "--format=freeze")
    assert not re.search(r"(?m)^(pytest|mypy|ruff)==", installed), "nothing of the developers'"
