"""Packages of any suite of Debian, for any architecture, without touching the system: nothing is installed.

apt is run with a configuration of the lab's own: the mirror that the system's sources name, the suite that is asked
for, and package lists in the lab's cache, which are as new as the system's own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.harness import cache
from tests.lab.harness.errors import LabUnavailableError
from tests.lab.harness.requirements import TO_FETCH, output_of, require

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SYSTEM = Path("/etc/apt")
SYSTEM_LISTS = Path("/var/lib/apt/lists")
NOT_TAKEN_OVER = ("sources.list", "sources.list.d", "preferences", "preferences.d", "apt.conf.d")
"""What of the system's configuration of apt stays outside: which packages it wants. How it reaches them counts here too
(proxies, passwords, keys)."""
UPDATED = "updated"
"""File beside package lists: when they were last asked for."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Where packages come from."""

    name: str | None = None
    """As in `trixie-backports`. None: all that the system's own sources name, by its own package lists."""
    architecture: str | None = None
    """As in `arm64`; only with a name. None: that of the system."""


def version(package: str, suite: Suite) -> str:
    """The newest version of `package` in `suite`. Raises LabUnavailableError if there is none, or no network."""
    environment = _environment(suite)
    shown = _run(environment, "apt-cache", "show", "--no-all-versions", package)
    found = re.search(r"^Version: (.*)$", shown, re.MULTILINE)
    if found is None:
        raise LabUnavailableError(f"apt-cache knows no version of {package} in {_called(suite)}")
    return found.group(1)


def dependencies(package: str, pattern: str, suite: Suite) -> list[str]:
    """The packages that `package` depends on whose whole names match `pattern`, as a meta-package names them.

    Raises LabUnavailableError if `package` is not known.
    """
    depends = _run(_environment(suite), "apt-cache", "depends", package)
    return re.findall(rf"^ *Depends: ({pattern})$", depends, re.MULTILINE)


def closure(packages: Iterable[str], suite: Suite) -> dict[str, str]:
    """`{package: version}` of these and of all that they depend on, as apt would install them where nothing is."""
    said = _run(_environment(suite), "apt-get", "-qq", "--no-install-recommends", "--simulate", "install", *packages)
    found = re.findall(r"^Inst (\S+) \((\S+) ", said, re.MULTILINE)
    return dict(sorted(found))


def download(package: str, of_version: str, suite: Suite, directory: Path) -> Path:
    """Fetch just this version of `package` into `directory`; returns the path of the .deb."""
    (path,) = download_all({package: of_version}, suite, directory)
    return path


def download_all(packages: Mapping[str, str], suite: Suite, directory: Path) -> list[Path]:
    """Fetch just these versions of packages into `directory`, in one run of apt; returns the paths of the .debs."""
    already = set(directory.glob("*.deb"))
    wanted = [f"{package}={of_version}" for package, of_version in packages.items()]
    _run(_environment(suite), "apt-get", "download", *wanted, cwd=directory)
    return sorted(set(directory.glob("*.deb")) - already)


def unpack(package: Path, directory: Path) -> None:
    """Put the files of a .deb under `directory`; its scripts are not run."""
    output_of("dpkg-deb", "-x", str(package), str(directory))


def _called(suite: Suite) -> str:
    return " ".join(filter(None, (suite.name or "the system's sources", suite.architecture)))


def _environment(suite: Suite) -> Mapping[str, str]:
    """What makes apt look at `suite`; its package lists are fetched if they are missing or older than the system's."""
    require(TO_FETCH)
    if suite.name is None:
        if suite.architecture is not None:
            raise ValueError("another architecture needs the name of a suite")
        return {}
    directory = cache.default_root() / "apt" / "-".join(filter(None, (suite.name, suite.architecture)))
    environment = {"APT_CONFIG": str(directory / "apt.conf")}
    # One run of apt at a time: the second finds what the first has fetched.
    with cache.alone(directory, lambda: None):
        if not _are_as_new_as_the_system_s(directory / UPDATED):
            _configure(directory, suite)
            _update(directory, environment)
    return environment


def _update(directory: Path, environment: Mapping[str, str]) -> None:
    try:
        # Without that setting apt-get ends well where a mirror could not be reached.
        _run(environment, "apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update")
    except LabUnavailableError:
        # Without a network, what was known before will do; the next run asks again.
        if not (directory / UPDATED).exists():
            raise
    else:
        (directory / UPDATED).touch()


def _are_as_new_as_the_system_s(stamp: Path) -> bool:
    try:
        return stamp.stat().st_mtime >= SYSTEM_LISTS.stat().st_mtime
    except FileNotFoundError:
        return False


def _configure(directory: Path, suite: Suite) -> None:
    etc = directory / "etc"
    shutil.rmtree(etc, ignore_errors=True)
    for needed in ("etc/sources.list.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
        (directory / needed).mkdir(parents=True, exist_ok=True)
    for file in SYSTEM.iterdir():
        if file.name not in NOT_TAKEN_OVER:
            (etc / file.name).symlink_to(file)
    shutil.copytree(SYSTEM / "apt.conf.d", etc / "apt.conf.d")
    # Read last: what others hook into updates and downloads of the system is not for these.
    (etc / "apt.conf.d" / "zzzz-lab").write_text("#clear APT::Update;\n#clear DPkg;\n#clear APT::Default-Release;\n")
    (directory / "status").touch()
    (etc / "sources.list.d" / "lab.sources").write_text(
        f"Types: deb\nURIs: {mirror()}\nSuites: {suite.name}\nComponents: main\nSigned-By: {KEYRING}\n"
    )
    (directory / "apt.conf").write_text(_configuration(directory, suite))


def _configuration(directory: Path, suite: Suite) -> str:
    architecture = suite.architecture or output_of("dpkg", "--print-architecture").strip()
    settings = {
        "Dir::Etc": directory / "etc",
        "Dir::State": directory / "state",
        "Dir::State::status": directory / "status",
        "Dir::Cache": directory / "cache",
        "APT::Architecture": architecture,
        # As root, apt would fetch as a user of its own, who cannot write here.
        "APT::Sandbox::User": "root",
    }
    return "".join(f'{name} "{value}";\n' for name, value in settings.items()) + (
        f'#clear APT::Architectures;\nAPT::Architectures {{ "{architecture}"; }};\n'
    )


def mirror() -> str:
    """From where the system gets Debian itself, as opposed to its security updates or others' packages."""
    told = output_of("apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages")
    found = re.search(r"^Debian Debian (\S+)$", told, re.MULTILINE)
    if found is None:
        raise LabUnavailableError("apt has package lists of no mirror of Debian: run apt-get update")
    return found.group(1)


def _run(environment: Mapping[str, str], *command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabUnavailableError(f"{' '.join(command)}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout
