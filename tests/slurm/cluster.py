"""A real SLURM cluster on this machine: munge, MariaDB, slurmdbd, slurmctld and four slurmd.

Every daemon lives in one scratch folder with ports and sockets of its own, needs no rights beyond
a user's, and is stopped by its process id. Times are shortened where SLURM's defaults assume a
machine room: a requeued job waits ``cred_expire`` (120 s by default), a dead node is noticed after
``SlurmdTimeout`` (300 s), and a task has ``KillWait`` (30 s) to end.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: Program → Debian package that has it.
PACKAGES = {
    "munged": "munge",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
NODES = ("127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14")
RANGE = "127.0.0.[11-14]"
PATIENCE_S = 30.0

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A requeued job must not meet its old step: cred_expire is longer than KillWait and what follows.
AuthInfo=socket={munge},cred_expire=8
SlurmctldPort={port}
SlurmctldPidFile={base}/run/slurmctld.pid
SlurmctldLogFile={base}/log/slurmctld.log
SlurmdPidFile={base}/run/slurmd.%n.pid
SlurmdLogFile={base}/log/slurmd.%n.log
SlurmdSpoolDir={base}/spool.%n
StateSaveLocation={base}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
SlurmdParameters=config_overrides
# Without it preemption sends no USR2, and nothing can be saved before a job is taken away.
SlurmctldParameters=preempt_send_user_signal
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=5,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=2
SlurmdTimeout=10
MessageTimeout=10
ReturnToService=2
EnforcePartLimits=ALL
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
# Under munge this is the socket on the way to slurmdbd, no password.
AccountingStoragePass={munge}
NodeName=DEFAULT CPUs=4 Sockets=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=4000 State=UNKNOWN
{nodes}
PartitionName=main Nodes={range} Default=YES DefaultTime=5 MaxTime=60 DefMemPerCPU=200 \
PriorityTier=10 PreemptMode=off
PartitionName=low Nodes={range} DefaultTime=5 MaxTime=60 DefMemPerCPU=200 \
PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=high Nodes={range} DefaultTime=5 MaxTime=60 DefMemPerCPU=200 \
PriorityTier=20 PreemptMode=off
"""

SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser={user}
PidFile={base}/run/slurmdbd.pid
LogFile={base}/log/slurmdbd.log
CommitDelay=0
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StoragePass=none
StorageLoc=accounting
"""


def missing_packages() -> list[str]:
    """Debian packages that a cluster needs and this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return sorted({PACKAGES[name] for name in PACKAGES if shutil.which(name, path=path) is None})


class Cluster:
    """A running cluster; ``environment`` is what its clients need."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._database: subprocess.Popen[bytes] | None = None
        self.environment = {
            "SLURM_CONF": str(base / "etc" / "slurm.conf"),
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        }

    def start(self) -> None:
        """Every daemon, and wait until all nodes are idle."""
        for name in ("etc", "run", "log", "state", "munge"):
            (self.base / name).mkdir(parents=True)
        (self.base / "munge").chmod(0o755)
        self._configure()
        self._start_munge()
        self._start_accounting()
        self._run("slurmctld", "-i")
        self._until(lambda: self._succeeds("scontrol", "ping"))
        for node in NODES:
            self.start_node(node)
        self._until(
            lambda: self.answer("sinfo", "-hNp", "main", "-o", "%T").split() == ["idle"] * 4
        )

    def stop(self) -> None:
        """Every daemon that was started, the controller first: it would wait for the others."""
        self._succeeds("scancel", "--quiet", f"--user={getpass.getuser()}")
        names = [
            "slurmctld",
            *(f"slurmd.{node}" for node in NODES),
            "slurmdbd",
            "mariadbd",
            "munged",
        ]
        for name in names:
            self._stop_daemon(name)
        if self._database is not None:
            self._database.wait()
        for process in self._processes("SLURM_CONF", self.environment["SLURM_CONF"]):
            _kill(process, signal.SIGKILL)

    def start_node(self, node: str) -> None:
        """The daemon of a node."""
        self._run("slurmd", "-N", node)

    def lose_node(self, node: str) -> None:
        """What pulling the plug does: the node's daemon and everything it ran are gone."""
        pid = int((self.base / "run" / f"slurmd.{node}.pid").read_text(encoding="utf-8"))
        _kill(pid, signal.SIGKILL)
        # The daemons of the steps first: alive, they would report that their tasks were killed.
        for process in [*self._step_daemons(node), *self._processes("SLURMD_NODENAME", node)]:
            _kill(process, signal.SIGKILL)

    def processes_of(self, job: str) -> list[int]:
        """Processes of a job, by its raw id."""
        return self._processes("SLURM_JOB_ID", job)

    def answer(self, *words: str) -> str:
        """What a client says on stdout."""
        done = subprocess.run(
            words,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return done.stdout.strip()

    def _configure(self) -> None:
        port = _free_ports()
        facts = {
            "base": self.base,
            "host": socket.gethostname().partition(".")[0],
            "user": getpass.getuser(),
            "munge": self.base / "munge" / "socket",
            "port": port,
            "dbd_port": port + 1,
            "range": RANGE,
        }
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={facts['host']} NodeAddr={node} Port={port + 2 + index}"
            for index, node in enumerate(NODES)
        )
        etc = self.base / "etc"
        (etc / "slurm.conf").write_text(SLURM_CONF.format(nodes=nodes, **facts), encoding="utf-8")
        # Unused, but slurmd wants one; it cannot find out by itself where cgroups are mixed.
        (etc / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n", encoding="utf-8")
        for name, text in (
            ("munge.key", secrets.token_hex(64)),
            ("slurmdbd.conf", SLURMDBD_CONF.format(**facts)),
        ):
            (etc / name).write_text(text, encoding="utf-8")
            (etc / name).chmod(0o600)

    def _start_munge(self) -> None:
        self._run(
            "munged",
            "--force",  # a test's folder may be closed to other users
            f"--key-file={self.base / 'etc' / 'munge.key'}",
            f"--socket={self.base / 'munge' / 'socket'}",
            f"--pid-file={self.base / 'run' / 'munged.pid'}",
            f"--log-file={self.base / 'log' / 'munged.log'}",
            f"--seed-file={self.base / 'munge' / 'seed'}",
        )

    def _start_accounting(self) -> None:
        data, socket_path = self.base / "database", self.base / "run" / "database"
        user, small = f"--user={getpass.getuser()}", "--innodb-buffer-pool-size=16M"
        self._install_database(data, user, small)
        words = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket_path}", user]
        words += ["--skip-networking", "--skip-grant-tables", "--performance-schema=off", small]
        words += [f"--pid-file={self.base / 'run' / 'mariadbd.pid'}"]
        words += [f"--log-error={self.base / 'log' / 'mariadbd.log'}"]
        self._database = subprocess.Popen(
            words,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._until(
            lambda: self._succeeds("mariadb-admin", "--no-defaults", "-S", str(socket_path), "ping")
        )
        self._run("slurmdbd", MYSQL_UNIX_PORT=str(socket_path))
        self._until(lambda: self._succeeds("sacctmgr", "-n", "show", "cluster"))
        self._run("sacctmgr", "-i", "add", "cluster", "test")

    def _install_database(self, data: Path, *options: str) -> None:
        """Make an empty database; mariadbd 10.11 crashes now and then on busy cores doing it."""
        words = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal"]
        words += ["--skip-test-db", "--skip-name-resolve", f"--datadir={data}", *options]
        for _ in range(3):
            if self._succeeds(*words):
                return
            shutil.rmtree(data, ignore_errors=True)
        self._run(*words)

    def _run(self, *words: str, **more: str) -> None:
        with (self.base / "log" / "start.log").open("ab") as log:
            subprocess.run(
                words,
                env={**os.environ, **self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
                timeout=PATIENCE_S,
            )

    def _succeeds(self, *words: str) -> bool:
        try:
            self._run(*words)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return False
        return True

    def _until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > end:
                raise TimeoutError(f"the cluster did not start; see {self.base / 'log'}")
            time.sleep(0.05)

    def _stop_daemon(self, name: str) -> None:
        path = self.base / "run" / f"{name}.pid"
        if not path.exists():
            return
        pid = int(path.read_text(encoding="utf-8"))
        _kill(pid, signal.SIGTERM)
        end = time.monotonic() + (2 if name == "slurmctld" else 10)
        while _lives(pid) and time.monotonic() < end:
            time.sleep(0.05)
        _kill(pid, signal.SIGKILL)

    def _processes(self, variable: str, value: str) -> list[int]:
        """Processes that have the variable, and belong to this cluster."""
        mine = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        wanted = {f"{variable}={value}".encode(), mine}
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                content = set(path.read_bytes().split(b"\0"))
            except OSError:
                continue
            if wanted <= content and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        return found

    def _step_daemons(self, node: str) -> list[int]:
        """slurmstepd processes of a node: their command line has no name, their folder has."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if b"slurmstepd" in path.read_bytes():
                    opened = {str(link.readlink()) for link in (path.parent / "fd").iterdir()}
                    if any(one.startswith(f"{self.base}/log/slurmd.{node}.") for one in opened):
                        found.append(int(path.parent.name))
            except OSError:
                continue
        return found


def _free_ports() -> int:
    """The first of six neighbouring ports, below those the kernel hands out."""
    for first in range(17000 + os.getpid() % 500 * 10, 30000, 10):
        try:
            for port in range(first, first + 6):
                with socket.create_server(("127.0.0.1", port)):
                    pass
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports")


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
