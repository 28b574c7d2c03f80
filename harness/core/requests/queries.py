"""What a user asks about runs and nights that exist, and how results are printed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.engine import MOST_PROCESSES, EngineName
from harness.core.settings import setting

TableFormat = Literal["rich", "markdown", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """How a result is printed."""

    group: ClassVar[str] = "output"

    json: bool = setting(False, help="print JSON and nothing else", kept=False)
    format: TableFormat | None = setting(
        None, help="form of the tables", none="rich on a terminal, else plain", kept=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonOutput:
    """How a result is printed that is sentences, or JSON."""

    group: ClassVar[str] = "output"

    json: bool = setting(False, help="print JSON and nothing else", kept=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralOptions:
    """What every command knows."""

    group: ClassVar[str] = "general"

    config: Path | None = setting(
        None,
        help="TOML file of settings, such as the config.toml of a run; options win over it",
        none="none",
        metavar="FILE",
        kept=False,
    )
    quiet: bool = setting(False, help="print only results, warnings and errors", kept=False)
    verbose: bool = setting(
        False, help="print more about progress, and the cause of an error", kept=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """How much of a record is printed."""

    group: ClassVar[str] = "output"

    per_category: bool = setting(False, help="also print a table by category", kept=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolderRequest:
    """A run that is asked about."""

    group: ClassVar[str] = "which run"

    run: Path = setting(help="run folder", positional=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsRequest:
    """The last lines of a run's logs."""

    group: ClassVar[str] = "which logs"

    run: Path = setting(help="run folder", positional=True)
    shard: int | None = setting(None, help="only shard N", none="all jobs", metavar="N", minimum=0)
    lines: int = setting(20, help="last lines of each log", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsRequest:
    """The model entries as tables, one a task."""

    group: ClassVar[str] = "what to list"

    contains: tuple[str, ...] = setting(
        (),
        help="only the models whose name, title or task contains every one of these words",
        positional=True,
        spaced=True,
        none="all",
        metavar="WORD",
    )
    root: Path = setting(Path("datasets"), help="folder of checkpoints", place="datasets")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRequest:
    """What is right and wrong on this machine."""

    group: ClassVar[str] = "what to check"

    root: Path = setting(
        Path("datasets"), help="folder of data sets and checkpoints", place="datasets"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """Trends over the nights."""

    group: ClassVar[str] = "which nights"

    results: Path = setting(Path("results"), help="folder of the history", place="results")
    cell: str | None = setting(None, help="only cells whose name contains this", none="all")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A script that completes commands and options in a shell."""

    group: ClassVar[str] = "which shell"

    shell: Literal["bash", "zsh", "fish"] = setting(
        help="shell that reads the script", positional=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestRequest:
    """The same evaluation by several numbers of workers."""

    group: ClassVar[str] = "what to prove"

    workers: tuple[int, ...] = setting(
        (1, 2, 8),
        help="numbers of workers",
        metavar="N",
        spaced=True,
        minimum=1,
        maximum=MOST_PROCESSES,
    )
    engine: EngineName = setting("native", help="implementation of the network")
    device: str = setting("cpu", help="cpu, or the GPU that all share: cuda:N")
    root: Path = setting(
        Path("datasets"), help="folder of data sets and checkpoints", place="datasets"
    )
