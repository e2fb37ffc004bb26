"""The parameters of a simulation; times in seconds if nothing else is said."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The parameters of one simulation."""

    projects: int = 10_000
    events: float = 1000.0  # a second, over all projects
    gpus: int = 200
    seconds: float = 300.0  # of load
    drain: float = 12 * 3600.0  # at most, until all runs have ended; 0: stop with the load, without the last checks
    instances: int = 20  # of train_trigger, one core each
    threads: int = 64  # of one instance: requests at once
    seed: int = 1
    # the installation's settings
    debounce: float = 2.0
    min_annotations: int = 5
    changed_share: float = 0.1
    cool_down: float = 300.0
    attempts: int = 5
    sweep_every: float = 60.0
    # the load: events are distributed over project n like 1/n (Zipf)
    updates: float = 0.25  # part of the events that update an annotation; the others create one
    tasks: int = 12_000  # annotated ones of a project that was trained before
    new_projects: float = 0.1  # part that was never trained
    lost_events: float = 0.001
    doubled_events: float = 0.001
    # Label Studio
    label_studio_at_once: int = 256  # requests that are answered at a time; the others wait
    label_studio_median: float = 0.08
    # the GPU pool
    run_median: float = 240.0  # without start and interruptions
    start_median: float = 40.0  # from a free GPU to the claim: image, import of torch
    refused_launches: float = 0.01
    doubled_launches: float = 0.02
    spot_losses: float = 0.5  # an hour and GPU, with SIGTERM
    kills: float = 0.1  # an hour and GPU, without SIGTERM
    zombies: float = 0.05  # an hour and GPU: reported as failed while still running
    instance_kills: float = 12.0  # of train_trigger, an hour
