"""Proof that events of Label Studio arrive at train_trigger: cause one, and look for it in the function's metrics."""

import time

import requests
from prometheus_client.parser import text_string_to_metric_families

from functions.train_trigger.status.findings import Finding
from shared.labelstudio.api import LabelStudio
from shared.settings import Settings
from shared.web.peer import call

_ACTION = "PROJECT_UPDATED"
_PATIENCE = 5.0  # seconds; with Redis, Label Studio sends events from a queue
_LOOK = 0.25  # seconds between two looks
_TIMEOUT = 5.0


def prove_events(label_studio: LabelStudio, settings: Settings, project_id: int, webhook_url: str) -> Finding:
    """Save the project as it is, which makes Label Studio send an event. Raises LabelStudioError."""
    try:
        before = events_received(settings, _ACTION)
        label_studio.request_json("PATCH", f"/api/projects/{project_id}/", {})
        until = time.monotonic() + _PATIENCE
        while events_received(settings, _ACTION) <= before:
            if time.monotonic() > until:
                return Finding(
                    "warning",
                    "events",
                    f"no event of Label Studio was seen at train_trigger within {_PATIENCE:g} s",
                    f"Label Studio itself must reach {webhook_url} within 1 s (pass --webhook-url with an address that "
                    "it can reach); where train_trigger has several instances this may be a false alarm",
                )
            time.sleep(_LOOK)
    except requests.RequestException as error:
        return Finding("warning", "events", f"train_trigger's /metrics could not be read ({type(error).__name__})")
    return Finding("ok", "events", "an event of Label Studio arrived at train_trigger")


def events_received(settings: Settings, action: str) -> int:
    """How many events of a kind train_trigger has counted since it started. Raises requests.RequestException."""
    return counted(settings, str(settings.train_trigger_url), "labelloop_events_total", action=action)


def counted(settings: Settings, url: str, name: str, **labels: str) -> int:
    """What the function at `url` has counted since it started. Raises requests.RequestException."""
    reply = call("GET", f"{url}/metrics", settings, "secret", timeout=_TIMEOUT)
    reply.raise_for_status()
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
