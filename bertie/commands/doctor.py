"""Say what this installation has, what is broken or missing, and what to do about it."""

from dataclasses import asdict, dataclass

from bertie.commands._diagnosis import Line, listing, verdict
from bertie.commands._packages import package_lines
from bertie.commands.command import UNBOUNDED_WIDTH, Report
from bertie.version import VERSION

_WIDTH = 120
_BROKEN = 3


@dataclass(frozen=True, kw_only=True)
class Diagnosis(Report):
    """The facts about an installation."""

    @property
    def lines(self) -> list[Line]:
        """All facts, by subject."""
        return [Line(**line) for line in self.values["lines"]]

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Return the verdict and the lines by subject, each with its remedy below it."""
        return f"{self.title}\n\n{listing(self.lines, min(width, _WIDTH))}"


def doctor() -> Diagnosis:
    """Say what this installation has, what is broken or missing, and what to do about it.

    It looks at the packages and their versions, the processor, memory and their limits, the C++ kernels and why each
    runs as it does, the GPU, the backends, the space on disk, and what several machines need to work together: address,
    port, shared memory and open files. Kernels that this machine doesn't have yet are built and checked. Nothing else
    changes.

    Returns:
        Lines with the state ok, note or problem, and a remedy. The exit code is 3 if there is a problem.
    """
    lines = package_lines()
    try:
        from bertie.commands._cluster import cluster_lines
        from bertie.commands._equipment import equipment_lines

        lines += [*equipment_lines(), *cluster_lines()]
    except ImportError as error:
        what = f"the machine can't be examined, because {error.name or 'a package'} can't be imported: {error}"
        lines.append(Line("machine", "problem", what, "install bertie again, in a new environment"))
    found = verdict(lines)
    return Diagnosis(
        title=f"bertie {VERSION}: {found}",
        values={"verdict": found, "lines": [asdict(line) for line in lines]},
        exit_code=_BROKEN if any(line.state == "problem" for line in lines) else 0,
    )
