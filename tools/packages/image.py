"""The OCI image, an archive beside the packages: ``python -m tools.packages.image DIRECTORY`` (``make image``).

What an image holds is laid out by debian_root.py. umoci writes the image around it and skopeo compresses it, without a
daemon. ``IMAGE`` is what a runtime is told; the DaemonSet says the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.packages import deb, debian_root, sbom, tree

CAPABILITIES: Final = ("bpf", "perfmon", "syslog")
"""What the exporter needs to attach its probes, and then gives up."""
CACHE: Final = "/var/cache/swiotlb-top"
"""Where compiled programs are kept."""
_PORT: Final = 9788
_RUN: Final = ("podman", "run", "--detach", "--name", "NAME", "--read-only", "--cap-drop", "all")
_TOOLS: Final = ("mmdebstrap", "umoci", "skopeo", "dpkg-deb")
_LEVEL: Final = 20
"""Of zstd, the best that skopeo does."""


@dataclass(frozen=True)
class Image:
    """What is said in an image's configuration."""

    entrypoint: tuple[str, ...]
    arguments: tuple[str, ...]
    """Those of the entry point, if nobody gives others."""
    environment: dict[str, str]
    volumes: tuple[str, ...]
    port: int
    user: str
    labels: dict[str, str]

    def options(self) -> list[str]:
        """As umoci has them."""
        many = (
            ("entrypoint", self.entrypoint),
            ("cmd", self.arguments),
            ("env", [f"{name}={value}" for name, value in self.environment.items()]),
            ("volume", self.volumes),
            ("label", [f"{name}={value}" for name, value in self.labels.items()]),
            ("exposedports", [f"{self.port}/tcp"]),
            ("user", [self.user]),
        )
        return [f"--config.{name}={value}" for name, values in many for value in values]


IMAGE: Final = Image(
    entrypoint=("/usr/bin/swiotlb-top",),
    arguments=("export", "--source", "live", "--web.listen-address", f":{_PORT}"),
    environment={"PATH": "/usr/sbin:/usr/bin", "XDG_CACHE_HOME": str(Path(CACHE).parent)},
    volumes=(CACHE,),
    port=_PORT,
    user="0",
    labels={
        "org.opencontainers.image.title": "swiotlb-top",
        "org.opencontainers.image.description": "Metrics of the kernel's bounce buffers (swiotlb)",
        "org.opencontainers.image.licenses": "GPL-2.0-only",
        "org.opencontainers.image.version": tree.version(),
        # podman container runlabel run IMAGE
        "run": " ".join((*_RUN, "--cap-add", ",".join(CAPABILITIES), "--publish", f"{_PORT}:{_PORT}", "IMAGE")),
    },
)


def name() -> str:
    """What a runtime calls it."""
    return f"swiotlb-top:{tree.version()}"


def make(package: Path, bill: Path, into: Path) -> Path:
    """Write the image of a Debian package and its SBOM into a directory. As root, who runs what is in the image."""
    target = into / f"swiotlb-top-{tree.version()}.oci.tar"
    with tempfile.TemporaryDirectory() as scratch:
        root, layer, plain, packed = (Path(scratch, kind) for kind in ("root", "layer.tar", "plain", "packed"))
        debian_root.lay_out(package, bill, root)
        _archive(root, layer, "--exclude=./dev/*")
        _write(layer, plain)
        compressed = ("--dest-compress-format", "zstd", "--dest-compress-level", str(_LEVEL))
        _run(
            "skopeo", "copy", "--insecure-policy", "--quiet", *compressed, f"oci:{plain}:made", f"oci:{packed}:{name()}"
        )
        _archive(packed, target)
    return target


def _write(layer: Path, layout: Path) -> None:
    """Write an image of one layer."""
    image, when = f"--image={layout}:made", f"{tree.day():%Y-%m-%dT%H:%M:%SZ}"
    _run("umoci", "init", "--layout", str(layout))
    _run("umoci", "new", image)
    _run("umoci", "raw", "add-layer", image, f"--history.created={when}", str(layer))
    _run("umoci", "config", image, f"--created={when}", "--no-history", *IMAGE.options())


def _run(*command: str) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def _archive(directory: Path, target: Path, *options: str) -> None:
    """In an order and with times that are always the same, and all of it root's."""
    when = f"--mtime=@{int(tree.day().timestamp())}"
    even = ("--sort=name", "--format=gnu", "--numeric-owner", "--owner=0", "--group=0", when)
    subprocess.run(["tar", *even, *options, "-C", directory, "-cf", target, "."], check=True)


def main(packages: Path) -> None:
    """Write it beside the packages that it is made of."""
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        sys.exit(f"an image is made with {', '.join(_TOOLS)}; not here: {', '.join(missing)}")
    if os.geteuid() != 0:
        sys.exit("only root can make an image: what is in it is run by chroot")
    made = make(deb.path(packages), sbom.path(packages), packages)
    print(f"{made.stat().st_size / 1e6:5.1f} MB  {made}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
