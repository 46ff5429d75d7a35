"""What a Dockerfile says, stage by stage: enough of its syntax for our own rules."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Instruction", "Stage", "parse_dockerfile"]

_LINE = re.compile(r"^\s*([A-Z]+)\s+(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Instruction:
    """One instruction; `text` is everything after its name, on one line."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    @property
    def pairs(self) -> dict[str, str]:
        """The `name=value` pairs of an ARG, ENV or LABEL; without `=`, the value is empty."""
        return {name: value for name, _, value in (word.partition("=") for word in self.words)}


@dataclass
class Stage:
    """From one FROM to the next; what precedes the first is a stage without base and name."""

    base: str = ""
    name: str = ""
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        return [each for each in self.instructions if each.name == name]

    def last(self, name: str) -> Instruction:
        """The one that counts. Fails if there is none."""
        found = self.all(name)
        assert found, f"{self.name or 'the head'} has no {name}"
        return found[-1]

    def pairs(self, name: str) -> dict[str, str]:
        """Of all instructions of this name together."""
        return {key: value for each in self.all(name) for key, value in each.pairs.items()}


def parse_dockerfile(path: Path) -> list[Stage]:
    """The stages in their order, the head before them first. Fails on a line that is no instruction."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    stages = [Stage()]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        match = _LINE.match(line)
        assert match, f"not an instruction: {line}"
        instruction = Instruction(match[1], " ".join(match[2].split()))
        if instruction.name == "FROM":
            base, *named = instruction.words
            stages.append(Stage(base, named[1] if named else ""))
        stages[-1].instructions.append(instruction)
    return stages
