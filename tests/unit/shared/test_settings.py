"""Which values settings refuse at the start, in a sentence, instead of failing at the first request."""

import pytest

from shared.errors import SettingsError
from shared.settings import Settings, variable

IN_HEADERS = (
    "LABEL_STUDIO_API_KEY",
    "LABELLOOP_BASIC_AUTH_USER",
    "LABELLOOP_BASIC_AUTH_PASSWORD",
    "LABELLOOP_WEBHOOK_SECRET",
)
ADDRESSES = (
    "LABEL_STUDIO_URL",
    "PREDICT_URL",
    "TRAIN_TRIGGER_URL",
    "LABELLOOP_S3_ENDPOINT",
    "LABELLOOP_TRACKING_URI",
    "LABELLOOP_NOTIFY_URL",
)
NUMBERS = [variable(name) for name, field in Settings.model_fields.items() if "float" in str(field.annotation)]


def refusal(name: str, value: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"LABEL_STUDIO_URL": "http://studio.example", name: value})
    return str(caught.value)


@pytest.mark.parametrize("name", IN_HEADERS)
@pytest.mark.parametrize(
    "value",
    ["schlüssel", "密", "line\nend", "trailing\n", " before", "nul\x00", "\udcff"],
    ids=["latin", "chinese", "line", "trailing line", "space", "null", "no unicode"],
)
def test_what_goes_into_headers_is_printable_ascii(name: str, value: str) -> None:
    said = refusal(name, value)
    assert said.startswith(f"{name}: ")
    assert value.strip() not in said


def test_a_user_of_basic_auth_has_no_colon() -> None:
    assert "colon" in refusal("LABELLOOP_BASIC_AUTH_USER", "a:b")


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "address",
    ["http://host:99999", "http://host:808O", "http://host:0", "http://ho st", "http://ho\nst", "http://[::1"],
)
def test_an_address_is_one_that_can_be_asked(name: str, address: str) -> None:
    assert refusal(name, address).startswith(f"{name}: ")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300"])
def test_no_number_is_without_end(name: str, value: str) -> None:
    assert refusal(name, value).startswith(f"{name}: ")


def test_what_settings_take_goes_into_headers_as_it_is() -> None:
    secret = " ".join(chr(code) for code in range(0x21, 0x7F))
    settings = Settings.from_environ({"LABELLOOP_WEBHOOK_SECRET": secret})
    assert settings.webhook_secret is not None
    assert settings.webhook_secret.get_secret_value() == secret


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "value",
    [
        "http://host:99999",
        "http://host:80a",
        "http://host:8080 ",
        "http://host/ls/\r",
        "http://ho st",
        'http://"host:80"',
    ],
    ids=["no port", "letters", "trailing space", "end of a line of Windows", "space", "quotes"],
)
def test_an_address_that_nobody_can_ask_is_refused(name: str, value: str) -> None:
    said = refusal(name, value)
    assert said == f"{name}: must be an address like http://host:port"


@pytest.mark.parametrize(
    "value", ["http://[::1]:8080", "https://studio.example/label-studio", "http://bücher.example", "http://a_b:80"]
)
def test_what_can_be_asked_is_an_address(value: str) -> None:
    assert Settings.from_environ({"LABEL_STUDIO_URL": value}).label_studio_url == value


@pytest.mark.parametrize("name", ["LABELLOOP_ALLOWED_PRIVATE_HOSTS", "LABELLOOP_NOTIFY_PRIVATE_HOSTS"])
@pytest.mark.parametrize(
    "host",
    ["minio:9000", "10.0.0.7:9000", "http://minio", "http://minio:9000", "*", "*.internal", "a b"],
)
def test_what_no_image_can_come_from_is_no_private_host(name: str, host: str) -> None:
    """It would allow nothing, and the message of each image that is refused would ask for what is set."""
    said = refusal(name, f"store.internal,{host}")
    assert said.startswith(f"{name}: {host!r} is no host name, address or network")
    assert "without scheme, port" in said


def test_private_hosts() -> None:
    given = "minio, My_Store.internal., 10.1.2.3,10.0.0.0/8,fd00::/8,fd00::7,[fd00::7],xn--bcher-kva.example"
    settings = Settings.from_environ({"LABELLOOP_ALLOWED_PRIVATE_HOSTS": given})
    assert settings.allowed_private_hosts == tuple(part.strip() for part in given.split(","))
    assert "host bits set" in refusal("LABELLOOP_ALLOWED_PRIVATE_HOSTS", "10.0.0.1/8")
