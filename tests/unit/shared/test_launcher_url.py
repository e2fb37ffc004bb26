"""LABELLOOP_LAUNCHER: a table of valid URLs, and an error for each invalid one."""

import sys

import pytest

from functions.train_trigger.launchers import open_launcher
from functions.train_trigger.launchers.local.launcher import LocalLauncher
from shared.errors import SettingsError
from shared.launcher_url import LAUNCHERS, LauncherUrl
from shared.settings import Settings


@pytest.mark.parametrize(
    ("text", "scheme", "parts", "options"),
    [
        ("local:", "local", (), {}),
        ("aws-batch://gpu-spot/train", "aws-batch", ("gpu-spot", "train"), {}),
        ("aws-batch://gpu/train:12", "aws-batch", ("gpu", "train:12"), {}),
        ("aws-batch://gpu/arn:aws:batch:eu-central-1:1:job-definition%2Ftrain:3", "aws-batch",
         ("gpu", "arn:aws:batch:eu-central-1:1:job-definition/train:3"), {}),
        ("kubernetes://labelloop/train", "kubernetes", ("labelloop", "train"), {}),
        ("cloud-run://acme/europe-west1/train", "cloud-run", ("acme", "europe-west1", "train"), {}),
        ("ray://ray-head:8265", "ray", ("ray-head:8265",), {}),
        ("ray://ray-head:8265?gpus=4", "ray", ("ray-head:8265",), {"gpus": "4"}),
    ],
)  # fmt: skip
def test_what_a_launcher_may_be(text: str, scheme: str, parts: tuple[str, ...], options: dict[str, str]) -> None:
    url = LauncherUrl.parse(text)
    assert (url.scheme, url.parts, dict(url.options)) == (scheme, parts, options)
    assert Settings.from_environ({"LABELLOOP_LAUNCHER": text}).launcher == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("docker://x", "use one of local:, aws-batch://QUEUE/DEFINITION"),
        ("local", "use one of local:"),
        ("local:/tmp", "write local:, without anything after it"),
        ("aws-batch://gpu", "write aws-batch://QUEUE/DEFINITION"),
        ("aws-batch:gpu/train", "write aws-batch://QUEUE/DEFINITION"),
        ("aws-batch://gpu/train/3", "write aws-batch://QUEUE/DEFINITION"),
        ("aws-batch://gpu/", "write aws-batch://QUEUE/DEFINITION"),
        ("cloud-run://acme/train", "write cloud-run://PROJECT/REGION/JOB"),
        ("ray://", "write ray://HOST:PORT"),
        ("ray://me:secret@head:8265", "without a user name or password"),
        ("ray://head:8265?cpus=1", "knows no option 'cpus', but gpus"),
        ("kubernetes://labelloop/train?gpus=1", "knows no option 'gpus'"),
    ],
)
def test_what_it_may_not_be_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_LAUNCHER") as raised:
        Settings.from_environ({"LABELLOOP_LAUNCHER": text})
    assert sentence in str(raised.value)


def test_the_scheme_finds_its_adapter() -> None:
    assert isinstance(open_launcher(Settings(), {}), LocalLauncher)


@pytest.mark.parametrize("url", ["local:", "ray://head:8265"])
def test_a_target_that_starts_one_job_refuses_several_workers(url: str) -> None:
    settings = Settings.from_environ({"LABELLOOP_LAUNCHER": url, "LABELLOOP_PRELABEL_WORKERS": "4"})
    with pytest.raises(SettingsError, match=r"WORKERS=4 needs .*aws-batch, kubernetes, cloud-run\); \w+: runs one job"):
        open_launcher(settings, {})


@pytest.mark.parametrize(
    ("url", "library"), [("kubernetes://ns/train", "kubernetes"), ("cloud-run://p/r/train", "google.cloud")]
)
def test_a_missing_client_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, url: str, library: str) -> None:
    scheme = url.partition(":")[0]
    for name in [name for name in sys.modules if f"launchers.{scheme.replace('-', '_')}" in name]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name == library or name.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)  # as where it is not installed
    with pytest.raises(SettingsError, match=rf"pip install 'labelloop\[{scheme}\]'"):
        open_launcher(Settings.from_environ({"LABELLOOP_LAUNCHER": url}), {})


def test_every_shape_is_in_the_help() -> None:
    help_ = Settings.model_fields["launcher"].description or ""
    assert all(shape in help_ for shape in LAUNCHERS.values())
