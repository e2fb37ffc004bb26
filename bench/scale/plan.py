"""What is simulated: sizes, rates, latencies. Seconds unless said otherwise."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One simulation."""

    projects: int = 10_000
    events: float = 1000.0  # a second, over all projects
    gpus: int = 200
    seconds: float = 300.0  # of load
    drain: float = 12 * 3600.0  # at most, for what was begun to end; 0: stop with the load, and check less
    instances: int = 20  # of train_trigger, one core each
    threads: int = 64  # of one instance: requests at once
    seed: int = 1
    # the installation's settings
    debounce: float = 2.0
    min_annotations: int = 20
    min_changes: int = 1200
    cool_down: float = 300.0
    attempts: int = 5
    sweep_every: float = 60.0
    # the load: project n has a share of 1/n of the events (Zipf)
    updates: float = 0.25  # share of the events that change an annotation; the others are new ones
    new_projects: float = 0.1  # share that was never trained
    lost_events: float = 0.001
    doubled_events: float = 0.001
    # Label Studio
    label_studio_at_once: int = 256  # requests that its servers answer at once; the others wait
    label_studio_median: float = 0.08
    # the GPU pool
    run_median: float = 240.0  # of work, without start and interruptions
    start_median: float = 40.0  # from a free GPU to the job's first act: image, import of torch
    refused_launches: float = 0.01
    doubled_launches: float = 0.02
    spot_losses: float = 0.5  # an hour and GPU, with SIGTERM
    kills: float = 0.1  # an hour and GPU, without a word
    zombies: float = 0.05  # an hour and GPU: reported as failed, and still working
    instance_kills: float = 12.0  # of train_trigger, an hour
