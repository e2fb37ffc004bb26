"""labelloop.env: made once with new secrets, over it the environment, kept up to date by `up`."""

import socket
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from infra.cli.environment import Invocation, first_values, keep
from infra.cli.up import prepare
from infra.local.processes import StartError, choose_port
from shared.errors import SettingsError
from shared.settings import Settings

PORTS = ("predict_port", "train_trigger_port")
LABEL_STUDIO = {"LABEL_STUDIO_URL": "http://127.0.0.1:8080", "LABEL_STUDIO_API_KEY": "0" * 40}


def prepared(folder: Path, environ: dict[str, str], **options: object) -> Settings:
    """Starts on free ports, since somebody may use the default ones here."""
    ports = {} if (folder / "labelloop.env").exists() else {name: choose_port() for name in PORTS}
    given = {"host": None, "dummy": False} | dict.fromkeys(PORTS) | ports | options
    return prepare(Invocation(environ, folder), Console(quiet=True), **given)


def test_a_first_start_makes_a_file_that_the_other_commands_need_nothing_beside(tmp_path: Path) -> None:
    started = prepared(tmp_path, LABEL_STUDIO)

    other = Invocation({}, tmp_path).connection_settings()

    assert other == started
    assert stat.S_IMODE((tmp_path / "labelloop.env").stat().st_mode) == 0o600
    assert other.loopback
    assert other.store == f"file://{tmp_path}/labelloop-data/store"
    assert other.basic_auth_password
    assert other.webhook_secret
    assert other.basic_auth_password != other.webhook_secret


def test_a_new_file_has_the_default_ports_and_its_own_secrets(tmp_path: Path) -> None:
    values, others = first_values(tmp_path, 9090, 9091), first_values(tmp_path, 9090, 9091)

    assert (values["PREDICT_URL"], values["TRAIN_TRIGGER_URL"]) == ("http://127.0.0.1:9090", "http://127.0.0.1:9091")
    assert values["LABELLOOP_BASIC_AUTH_PASSWORD"] != others["LABELLOOP_BASIC_AUTH_PASSWORD"]
    assert values["LABELLOOP_WEBHOOK_SECRET"] != others["LABELLOOP_WEBHOOK_SECRET"]


def test_both_functions_on_one_port_are_refused(tmp_path: Path) -> None:
    port = choose_port()

    with pytest.raises(SettingsError, match="both functions cannot listen"):
        prepared(tmp_path, LABEL_STUDIO, predict_port=port, train_trigger_port=port)


def test_a_second_start_keeps_secrets_and_ports(tmp_path: Path) -> None:
    port = choose_port()
    first = prepared(tmp_path, LABEL_STUDIO, predict_port=port, host="0.0.0.0")

    assert prepared(tmp_path, {}) == first
    assert first.predict_url == f"http://127.0.0.1:{port}"
    assert first.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("localhost", "localhost"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "[::1]"),
        ("2001:db8::7", "[2001:db8::7]"),
        ("::", "127.0.0.1"),
    ],
)
def test_the_functions_are_called_where_they_listen(tmp_path: Path, host: str, reached_at: str) -> None:
    for folder in ("new", "later"):
        (tmp_path / folder).mkdir()
    first = prepared(tmp_path / "new", LABEL_STUDIO, host=host)
    assert (first.host, urlsplit(str(first.predict_url)).hostname) == (host, reached_at.strip("[]"))
    assert urlsplit(str(first.train_trigger_url)).hostname == reached_at.strip("[]")

    before = prepared(tmp_path / "later", LABEL_STUDIO)
    later = prepared(tmp_path / "later", {}, host=host)
    assert later.predict_url == str(before.predict_url).replace("127.0.0.1", reached_at)
    assert later.train_trigger_url == str(before.train_trigger_url).replace("127.0.0.1", reached_at)
    port = choose_port()
    assert prepared(tmp_path / "later", {}, predict_port=port).predict_url == f"http://{reached_at}:{port}"
    assert Invocation({}, tmp_path / "later").settings().predict_url == f"http://{reached_at}:{port}"


def test_back_on_loopback_the_functions_are_called_there(tmp_path: Path) -> None:
    first = prepared(tmp_path, LABEL_STUDIO)
    prepared(tmp_path, {}, host="192.0.2.7")

    assert prepared(tmp_path, {}, host="127.0.0.1") == first


def test_what_a_person_wrote_into_the_file_stays(tmp_path: Path) -> None:
    prepared(tmp_path, LABEL_STUDIO)
    file = tmp_path / "labelloop.env"
    file.write_text(file.read_text() + "# mine\nLABELLOOP_EPOCHS=7\n")

    assert prepared(tmp_path, {}).epochs == 7
    with pytest.raises(SettingsError, match="local: runs one job"):
        prepared(tmp_path, {"LABELLOOP_PRELABEL_WORKERS": "2"})
    assert "# mine" in file.read_text()


def test_secrets_join_what_a_person_wrote_for_the_owners_eyes_only(tmp_path: Path) -> None:
    file = tmp_path / "labelloop.env"
    file.write_text("LABELLOOP_EPOCHS=7\n")
    file.chmod(0o644)
    prepared(tmp_path, LABEL_STUDIO, **{name: choose_port() for name in PORTS})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_new_token_of_the_environment_reaches_the_file(tmp_path: Path) -> None:
    prepared(tmp_path, LABEL_STUDIO)
    prepared(tmp_path, LABEL_STUDIO | {"LABEL_STUDIO_API_KEY": "1" * 40})

    key = Invocation({}, tmp_path).settings().label_studio_api_key

    assert key is not None
    assert key.get_secret_value() == "1" * 40


def test_settings_of_the_environment_are_those_of_the_other_commands_and_of_the_next_start(tmp_path: Path) -> None:
    environ = {"LABELLOOP_IMAGE_SIZE": "192", "LABELLOOP_MIN_ANNOTATIONS": "7", "HOST": "some-machine"}
    started = prepared(tmp_path, LABEL_STUDIO | environ)

    assert Invocation({}, tmp_path).settings() == started
    assert (started.image_size, started.min_annotations, started.loopback) == (192, 7, True)

    prepared(tmp_path, {"LABELLOOP_IMAGE_SIZE": "320"})

    assert prepared(tmp_path, {}).image_size == 320


def test_dummy_is_for_this_start_alone(tmp_path: Path) -> None:
    assert prepared(tmp_path, LABEL_STUDIO, dummy=True).dummy
    assert prepared(tmp_path, {"LABELLOOP_DUMMY": "true"}).dummy
    assert not prepared(tmp_path, {}).dummy


def test_the_environment_wins_over_the_file_but_for_host(tmp_path: Path) -> None:
    keep(tmp_path / "labelloop.env", {"LABELLOOP_EPOCHS": "5", "LABELLOOP_SEED": "3", "HOST": "127.0.0.1"})

    settings = Invocation({"LABELLOOP_EPOCHS": "9", "LABELLOOP_SEED": "", "HOST": "some-machine"}, tmp_path).settings()

    assert (settings.epochs, settings.seed, settings.host) == (9, 3, "127.0.0.1")


@pytest.mark.parametrize("value", ["it's", 'quo"te', "a b#c", "back\\slash", "${HOME}", "ünïcode"])
def test_every_value_survives_the_file(tmp_path: Path, value: str) -> None:
    keep(tmp_path / "labelloop.env", {"LABELLOOP_WEBHOOK_SECRET": value})

    assert Invocation({}, tmp_path).from_file() == {"LABELLOOP_WEBHOOK_SECRET": value}


def test_without_terminal_and_label_studio_up_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY must be set"):
        prepared(tmp_path, {})

    assert not (tmp_path / "labelloop.env").exists()


def test_a_wrong_value_in_the_file_names_the_file(tmp_path: Path) -> None:
    keep(tmp_path / "labelloop.env", {"LABELLOOP_EPOCS": "5"})

    with pytest.raises(SettingsError, match=r"did you mean LABELLOOP_EPOCHS\?.*labelloop\.env"):
        Invocation({}, tmp_path).settings()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "labelloop.env").write_bytes("LABELLOOP_WEBHOOK_SECRET=grün".encode("latin-1"))

    with pytest.raises(SettingsError, match=r"labelloop\.env is no UTF-8 text .* as UTF-8$"):
        Invocation({}, tmp_path).settings()


@pytest.mark.parametrize("wrong", ["LABELLOOP_SEED 4", "LABELLOOP_WEBHOOK_SECRET='s3cret\nLABELLOOP_SEED=4"])
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "labelloop.env").write_text(f"# settings\n\nLABELLOOP_EPOCHS=5\n\n{wrong}\n")

    with pytest.raises(SettingsError, match=r"^line 5 of .*labelloop\.env cannot be read: write NAME=value") as refused:
        Invocation({}, tmp_path).settings()
    assert "s3cret" not in str(refused.value)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "labelloop.env").mkdir()

    with pytest.raises(SettingsError, match=r"labelloop\.env cannot be written \(Is a directory\)"):
        prepared(tmp_path, LABEL_STUDIO)
    with pytest.raises(SettingsError, match=r"labelloop\.env cannot be written \(No such file"):
        prepared(tmp_path / "gone", LABEL_STUDIO)


def test_a_store_of_the_environment_is_the_store_of_the_other_commands(tmp_path: Path) -> None:
    prepared(tmp_path, LABEL_STUDIO | {"LABELLOOP_STORE": "s3://bucket/prefix"})

    assert Invocation({}, tmp_path).settings().store == "s3://bucket/prefix"


def test_an_option_wins_over_the_environment(tmp_path: Path) -> None:
    environ, port = LABEL_STUDIO | {"PREDICT_URL": "http://127.0.0.1:7000"}, choose_port()

    assert prepared(tmp_path, environ, predict_port=port).predict_url == f"http://127.0.0.1:{port}"
    assert Invocation({}, tmp_path).settings().predict_url == f"http://127.0.0.1:{port}"


def test_a_taken_port_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with socket.socket() as one, socket.socket() as other:
        for taken in (one, other):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
        first, second = one.getsockname()[1], other.getsockname()[1]

        with pytest.raises(StartError, match=rf"port {first} .*: labelloop up --predict-port \d+$"):
            prepared(tmp_path, LABEL_STUDIO, predict_port=first)
        both = rf"port {first} .* and port {second} .*: labelloop up --predict-port \d+ --train-trigger-port \d+$"
        with pytest.raises(StartError, match=both):
            prepared(tmp_path, LABEL_STUDIO, predict_port=first, train_trigger_port=second)

    assert not (tmp_path / "labelloop.env").exists()
