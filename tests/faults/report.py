"""What was done, what came of it, and the same as a table of docs/reliability.md."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Of one kind of fault."""

    struck: int = 0
    in_training: int = 0  # of these, while a training job was running
    answered: int = 0  # tasks that predict was asked for meanwhile, and answered with a prediction
    empty: int = 0  # by [], with a reason in its log
    down: int = 0  # while it had been killed
    broken: int = 0  # cycles with it after which a promise was broken


@dataclass(slots=True)
class Report:
    """Of one call of the program."""

    seed: int
    kinds: dict[str, Counts] = field(default_factory=dict)
    cycles: int = 0
    failed: int = 0  # runs that were given up, so that a person had to ask for the next one
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0
    versions: int = 0
    runs: int = 0
    restarts: int = 0
    left_out: list[str] = field(default_factory=list)  # faults that cannot be made here, with the reason

    def of(self, name: str) -> Counts:
        """The counts of one kind."""
        return self.kinds.setdefault(name, Counts())

    @property
    def struck(self) -> int:
        """Faults in all."""
        return sum(counts.struck for counts in self.kinds.values())

    def markdown(self) -> str:
        """Sentences and a table."""
        lines = [
            f"{self.struck} faults in {self.seconds / 60:.0f} minutes and {self.cycles} cycles (seed {self.seed}): "
            f"{self.runs} runs, {self.failed} of them given up, {self.versions} "
            f"versions, {self.restarts} restarts of programs. Promises broken: {len(self.broken)}.",
            "",
            "| fault | times | during a training | tasks meanwhile: predicted | `[]` with a reason | predict was down "
            "| guarantees broken |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        rows = [(name, counts) for name, counts in sorted(self.kinds.items()) if counts.struck]
        total = Counts()
        for name, counts in [*rows, ("all", total)]:
            lines.append(
                f"| {name} | {counts.struck} | {counts.in_training} | {counts.answered} | {counts.empty} "
                f"| {counts.down} | {counts.broken} |"
            )
            for part in ("struck", "in_training", "answered", "empty", "down", "broken"):
                setattr(total, part, getattr(total, part) + getattr(counts, part))
        lines += [f"\nLeft out: {one}." for one in self.left_out]
        lines += ["", *(f"- broken: {sentence}" for sentence in self.broken)] if self.broken else []
        return "\n".join(lines) + "\n"
