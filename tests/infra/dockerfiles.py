"""What a Dockerfile and a .dockerignore say, read without Docker: as much of both as this project uses."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

_FLAG = re.compile(r"--([\w-]+)=(\S+)\s+")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of a Dockerfile, joined: `COPY --from=build /wheels /opt/wheels`."""

    keyword: str
    text: str  # without flags
    flags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """FROM and what follows it."""

    name: str
    base: str  # name of a stage, or of an image
    instructions: list[Instruction]

    def named(self, keyword: str) -> list[Instruction]:
        """Its instructions of one kind, in order."""
        return [instruction for instruction in self.instructions if instruction.keyword == keyword]


def stages(dockerfile: Path) -> dict[str, Stage]:
    """The stages by name. Arguments before the first FROM are put in with their defaults."""
    found: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    current: Stage | None = None
    for instruction in _instructions(dockerfile.read_text()):
        if instruction.keyword == "ARG" and current is None:
            name, _, value = instruction.text.partition("=")
            arguments[name] = value
        elif instruction.keyword == "FROM":
            base, _, name = instruction.text.partition(" AS ")
            base = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base)
            current = found[name] = Stage(name, base, [])
        else:
            assert current is not None, instruction
            current.instructions.append(instruction)
    return found


def ancestry(found: dict[str, Stage], name: str) -> list[Stage]:
    """The stage and those it is made from, the oldest first."""
    stage = found[name]
    return [*(ancestry(found, stage.base) if stage.base in found else []), stage]


def environ(found: dict[str, Stage], name: str) -> dict[str, str]:
    """ENV of the stage and of those it is made from; $PATH stays as it is written."""
    lines = [instruction.text for stage in ancestry(found, name) for instruction in stage.named("ENV")]
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


class Context:
    """What of a folder `docker build` gets to see: of .dockerignore the last pattern that fits a file, or a folder
    that it lies in, decides.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        lines = (folder / ".dockerignore").read_text().splitlines()
        self._rules = [(line.removeprefix("!"), line.startswith("!")) for line in lines if line and line[0] != "#"]

    def holds(self, path: Path | str) -> bool:
        """Whether a file of that path (relative) would be seen."""
        names = [str(path), *(str(parent) for parent in Path(path).parents[:-1])]
        fitting = [kept for rule, kept in self._rules if any(_pattern(rule).fullmatch(name) for name in names)]
        return fitting[-1] if fitting else True

    def files(self) -> list[Path]:
        """All that it holds, relative."""
        return sorted(self._files(self._folder))

    def _files(self, folder: Path) -> Iterator[Path]:
        for path in folder.iterdir():
            name = path.relative_to(self._folder)
            if path.is_dir():
                if self.holds(name) or any(kept and rule.startswith(f"{name}/") for rule, kept in self._rules):
                    yield from self._files(path)
            elif self.holds(name):
                yield name


def _instructions(text: str) -> Iterator[Instruction]:
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        if not line.strip():
            continue
        keyword, _, rest = line.strip().partition(" ")
        flags = {}
        while match := _FLAG.match(rest):
            flags[match[1]] = match[2]
            rest = rest[match.end() :]
        yield Instruction(keyword, rest.strip(), flags)


@cache
def _pattern(line: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*)", line)
    return re.compile("".join({"**/": "(?:.*/)?", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts))
