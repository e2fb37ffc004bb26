"""Why a Kubernetes Job waits: for capacity, or for a correction by a person."""

from typing import Any

import pytest

from functions.train_trigger.launchers import JobStatus
from functions.train_trigger.launchers.kubernetes.pods import without_pod
from tests.fakes.kubernetes_api import (
    CREATING,
    IMPOSSIBLE,
    NO_GPU,
    TAKEN,
    condition,
    container,
    event,
    pod,
    standing,
    starting,
    unscheduled,
    waiting,
)

NO_GROUP = "pod didn't trigger scale-up: 2 Insufficient nvidia.com/gpu"


@pytest.mark.parametrize(
    ("found", "events", "why", "stuck"),
    [
        pytest.param(pod("Pending"), [], "", False, id="nobody said anything yet"),
        pytest.param(CREATING, [], "", False, id="an image of ten GB is pulled"),
        pytest.param(starting(**waiting("PodInitializing")), [], "", False, id="an init container runs"),
        pytest.param(starting(**waiting("ImagePullBackOff", "Back-off pulling image \"x\"")), [],
                     "ImagePullBackOff: Back-off pulling image \"x\"", True, id="ImagePullBackOff"),
        pytest.param(starting(**waiting("ErrImagePull", "not found")), [], "ErrImagePull: not found", True,
                     id="ErrImagePull, which comes and goes with it"),
        pytest.param(starting(**waiting("InvalidImageName", "couldn't parse \"A B\"")), [],
                     "InvalidImageName: couldn't parse \"A B\"", True, id="InvalidImageName"),
        pytest.param(starting(**waiting("CreateContainerConfigError", "secret \"labelloop\" not found")), [],
                     "CreateContainerConfigError: secret \"labelloop\" not found", True, id="a secret is missing"),
        pytest.param(starting(**waiting("CreateContainerError")), [], "CreateContainerError: no message", True,
                     id="without a message"),
        pytest.param(pod("Pending", initContainerStatuses=[container("init", **waiting("ErrImagePull", "denied"))]), [],
                     "ErrImagePull: denied", True, id="of an init container"),
        pytest.param(pod("Pending", conditions=[condition("PodScheduled", "False", reason="SchedulingGated")]), [],
                     "SchedulingGated", False, id="gated"),
        pytest.param(unscheduled("no nodes available to schedule pods"), [], "no nodes available to schedule pods",
                     False, id="a cluster that sleeps"),
        pytest.param(unscheduled(TAKEN), [], TAKEN, False, id="all GPUs are taken"),
        pytest.param(unscheduled(IMPOSSIBLE), [], IMPOSSIBLE, True, id="no node is large enough, were it empty"),
        pytest.param(unscheduled(IMPOSSIBLE), [event("TriggeredScaleUp", "gpu 0->1", type_="Normal")], IMPOSSIBLE,
                     False, id="a node is on its way"),
        pytest.param(unscheduled(NO_GPU), [event("NotTriggerScaleUp", NO_GROUP, type_="Normal")],
                     f"{NO_GPU} {NO_GROUP}", True, id="no node group could hold it"),
        pytest.param(unscheduled(NO_GPU), [event("NotTriggerScaleUp", "1 max node group size reached", type_="Normal")],
                     f"{NO_GPU} 1 max node group size reached", False, id="the node group is full"),
        pytest.param(unscheduled(NO_GPU), [event("NotTriggerScaleUp", NO_GROUP, type_="Normal", ago=900),
                                           event("TriggeredScaleUp", "gpu 0->1", type_="Normal", ago=30)],
                     NO_GPU, False, id="the newest word of the autoscaler counts"),
        pytest.param(unscheduled(NO_GPU), [event("FailedScheduling", "incompatible with nodepool \"gpu\", no type")],
                     "incompatible with nodepool \"gpu\", no type", True, id="Karpenter has no such machine"),
        pytest.param(CREATING, [event("FailedMount", "secret \"keys\" not found")],
                     "FailedMount: secret \"keys\" not found", True, id="a volume that cannot be mounted"),
        pytest.param(CREATING, [event("FailedMount", "not synced yet", ago=400), event("Pulling", "x", type_="Normal")],
                     "", False, id="a volume that was late, and a large image since"),
    ],
)  # fmt: skip
def test_waiting_for_capacity_is_told_from_waiting_for_a_correction(
    found: dict[str, Any], events: list[Any], why: str, stuck: bool
) -> None:
    assert standing({}, [found], events) == JobStatus("queued", why, stuck)


QUOTA = 'pods "labelloop-run-1-1-x7k2p" is forbidden: exceeded quota: gpus, requested: {}, used: {}, limited: {}'


@pytest.mark.parametrize(
    ("message", "stuck"),
    [
        (QUOTA.format("requests.nvidia.com/gpu=1", "requests.nvidia.com/gpu=4", "requests.nvidia.com/gpu=4"), False),
        (QUOTA.format("requests.nvidia.com/gpu=8", "requests.nvidia.com/gpu=0", "requests.nvidia.com/gpu=4"), True),
        (QUOTA.format("memory=24Gi,pods=1", "memory=0,pods=2", "memory=20480Mi,pods=9"), True),
        (QUOTA.format("memory=12Gi,pods=1", "memory=14Gi,pods=2", "memory=20480Mi,pods=9"), False),
        ('pods "x" is forbidden: failed quota: gpus: must specify limits.cpu', True),
        ('pods "x" is forbidden: error looking up service account ml/train: serviceaccount "train" not found', True),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged', True),
        ('pods "x" is forbidden: maximum cpu usage per Container is 2, but limit is 4', True),
    ],
)
def test_a_quota_that_is_used_up_is_waited_for_and_one_that_never_suffices_is_not(message: str, stuck: bool) -> None:
    status = standing({}, [], [event("FailedCreate", f"Error creating: {message}", kind="Job")])
    assert (status.state, status.stuck) == ("queued", stuck)
    assert "x7k2p" not in status.why, "the name of a pod that is another one each time"


def test_the_newest_event_says_why_there_is_no_pod() -> None:
    events: list[dict[str, str | None]] = [
        {"lastTimestamp": "2026-01-01T12:00:02Z", "message": 'pods "labelloop-run-1-1-x7k2p" is forbidden: quota'},
        {"lastTimestamp": "2026-01-01T12:00:01Z", "message": "old"},
        {"lastTimestamp": None, "message": "without a time"},
    ]
    assert without_pod(events, "labelloop-run-1-1").why == 'pods "labelloop-run-1-1" is forbidden: quota'
    assert without_pod([], "x") == JobStatus("queued")
