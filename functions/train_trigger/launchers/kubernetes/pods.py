"""The status of a training by its pods and events. Pure.

The state of the training's own container counts: a pod is `Running` as long as any of its containers runs, such as the
proxy of a service mesh. A pod that gets a machine when one is free waits for capacity; one whose image, volume, right
or size has to be corrected is stuck, as far as the namespace's objects tell.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from kubernetes.utils.quantity import parse_quantity

from functions.train_trigger.launchers import JobStatus
from functions.train_trigger.launchers.kubernetes.objects import CONTAINER, Object

_DEAD_AFTER = timedelta(seconds=60)  # after the end of a pod's grace period
_FRESH = timedelta(minutes=3)  # events that still hold: a kubelet tries a volume again at least every two minutes
_STARTING = ("ContainerCreating", "PodInitializing")
_AUTOSCALER_IS_FULL = ("max node group size", "max cluster", "in backoff", "limit")
_QUOTA = re.compile(r"exceeded quota: \S+ requested: (\S+), used: \S+, limited: (\S+)")


def status_of(pods: Iterable[Object], now: datetime) -> JobStatus:
    """The status of a Job that has not ended, by its pods; queued if there are none yet."""
    found = [_of_pod(pod, now) for pod in pods]
    for state in ("running", "queued"):
        for status in found:
            if status.state == state:
                return status
    return found[-1] if found else JobStatus("queued")


def only_others_run(pod: Object) -> bool:
    """Whether the training ended while another container keeps the pod, and so the machine."""
    deleted = pod["metadata"].get("deletionTimestamp")
    return not deleted and pod["status"].get("phase") == "Running" and "terminated" in _state(pod)


def why_failed(pods: Iterable[Object]) -> str:
    """How the training's container ended, or why its pod was removed; empty if nothing says so.

    Of several workers that of the first one that failed.
    """
    for pod in pods:
        if (terminated := _state(pod).get("terminated")) and terminated["exitCode"]:
            return _ending(terminated)
        status = pod["status"]
        if status.get("reason"):  # Evicted, DeadlineExceeded
            return f"{status['reason']}: {status.get('message') or 'no message'}"
    return ""


def with_events(status: JobStatus, pod: Object, events: Iterable[Object], now: datetime) -> JobStatus:
    """The status of a waiting pod with what events say: of an autoscaler, or of the machine that cannot start it."""
    newest_first = sorted(events, key=_time, reverse=True)
    if _unscheduled(pod) is not None:
        statuses = (_by_autoscaler(status, event) for event in newest_first)
        return next((found for found in statuses if found), status)
    fresh = f"{now - _FRESH:%Y-%m-%dT%H:%M:%SZ}"
    for event in newest_first:
        if not status.stuck and event.get("type") == "Warning" and _time(event) >= fresh:  # FailedMount and its like
            return JobStatus("queued", f"{event.get('reason')}: {event.get('message')}", stuck=True)
    return status


def without_pod(events: Iterable[Object], job: str) -> JobStatus:
    """The status of a Job without a pod, by the events of its controller, for example about a quota.

    It waits if the quota would be enough for this pod alone, otherwise it is stuck. Names of pods are left out of the
    reason: each try of the controller has another one.
    """
    newest = max(events, key=_time, default=None)
    if newest is None:
        return JobStatus("queued")
    message = re.sub(rf"\b{re.escape(job)}(-\d+)?-\w{{5}}\b", job, newest["message"])
    return JobStatus("queued", message, stuck=not _quota_is_enough(message))


def _of_pod(pod: Object, now: datetime) -> JobStatus:
    if _is_dead(pod, now):
        return JobStatus("failed", "its machine is gone")
    state, phase = _state(pod), pod["status"].get("phase")
    if terminated := state.get("terminated"):
        return JobStatus("failed", _ending(terminated)) if terminated["exitCode"] else JobStatus("finished")
    if phase == "Pending" or "waiting" in state:
        return _waiting(pod)
    return JobStatus("running")  # or its Job is about to say how it ended


def _by_autoscaler(status: JobStatus, event: Object) -> JobStatus | None:
    reason, message = event.get("reason"), str(event.get("message") or "")
    if reason == "TriggeredScaleUp":
        return JobStatus("queued", status.why)
    if reason == "NotTriggerScaleUp":
        full = any(part in message for part in _AUTOSCALER_IS_FULL)
        return JobStatus("queued", f"{status.why} {message}", stuck=not full)
    if reason == "FailedScheduling" and "incompatible with nodepool" in message:  # Karpenter
        return JobStatus("queued", message, stuck=True)
    return None


def _unscheduled(pod: Object) -> str | None:
    """Why the pod has no machine; None if it has one, or no scheduler has looked at it yet."""
    for condition in pod["status"].get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason") or "")
    return None


def _waiting(pod: Object) -> JobStatus:
    if (why := _unscheduled(pod)) is not None:
        return JobStatus("queued", why, stuck=_fits_nowhere(why))
    status = pod["status"]
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = container["state"].get("waiting") or {}
        reason = waiting.get("reason")
        if reason and reason not in _STARTING:  # ImagePullBackOff, CreateContainerConfigError and their like
            return JobStatus("queued", f"{reason}: {waiting.get('message') or 'no message'}", stuck=True)
    return JobStatus("queued")


def _state(pod: Object) -> Object:
    """The state of the training's container; empty if the kubelet has not reported it."""
    for container in pod["status"].get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            state: Object = {name: value for name, value in container["state"].items() if value is not None}
            return state
    return {}


def _ending(terminated: Object) -> str:
    code = f"exit code {terminated['exitCode']}"
    words = [word for word in (terminated.get("reason"), terminated.get("message")) if word and word != "Error"]
    return f"{': '.join(words)} ({code})" if words else code


def _fits_nowhere(message: str) -> bool:
    """Whether the scheduler says that the pod fits no node, even an empty one (it says so since Kubernetes 1.32)."""
    found = re.match(r"\d+/([1-9]\d*) nodes are available", message)
    return found is not None and f" {found[1]} Preemption is not helpful for scheduling" in message


def _quota_is_enough(message: str) -> bool:
    found = _QUOTA.search(message)
    if found is None:
        return False
    asked, limits = (dict(part.split("=") for part in text.split(",")) for text in found.groups())
    return all(parse_quantity(value) <= parse_quantity(limits.get(name, value)) for name, value in asked.items())


def _time(event: Object) -> str:
    """The time of an event as the API writes it, in UTC: such texts sort by time."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _is_dead(pod: Object, now: datetime) -> bool:
    """Whether a pod is there long after its grace period: its machine is gone, and it never ends by itself."""
    deleted = pod["metadata"].get("deletionTimestamp")  # when its grace period ends
    return deleted is not None and now > datetime.fromisoformat(deleted) + _DEAD_AFTER
