"""Debian's kernel packages: which there are, and their files, through an apt configuration of its own.

The mirror, and how it is reached, are those of this machine's apt. Its lists and packages are left alone.
"""

import hashlib
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

META_PACKAGE = "linux-image-amd64"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITES = ("oldstable", "stable", "unstable")
SECURITY_SUITES = ("oldstable-security", "stable-security")
_KERNEL_PACKAGE = re.compile(r"linux-(?:image|binary|modules)-\d[\w.+-]*")
"""The kernel's own, not its tools: kernel and modules are in one package or, since 6.17 or so, in two."""


class PackagesError(Exception):
    """No mirror, no such kernel, or apt failed."""


@dataclass(frozen=True)
class Package:
    """One file of the archive, as apt verified it; `sha256` in hexadecimal."""

    name: str
    version: str
    sha256: str
    file: Path


@dataclass(frozen=True)
class Kernel:
    """A kernel, unpacked; `release` is what `uname -r` says there. Without modules, it runs in user mode."""

    release: str
    packages: tuple[Package, ...]
    image: Path
    modules: Path | None

    @property
    def version(self) -> str:
        """The version of its packages."""
        return self.packages[0].version

    @property
    def is_user_mode(self) -> bool:
        """Whether it is a process of this host."""
        return self.modules is None


class Archive:
    """Debian's archive, by way of apt in `directory`, which has the packages."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("lists/partial", "archives/partial"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "sources.list").write_text("".join(f"{line}\n" for line in self._sources()))
        self._apt("apt-get", "update", "-qq")

    def _sources(self) -> list[str]:
        found = []
        for label, suites in (("Debian", SUITES), ("Debian-Security", SECURITY_SUITES)):
            criteria = ["Created-By: Packages", "Origin: Debian", f"Label: {label}"]
            mirrors = run("apt-get", "indextargets", "--format", "$(REPO_URI)", *criteria).split()
            found += [
                f"deb [arch=amd64 signed-by={KEYRING}] {uri} {suite} main" for uri in mirrors[:1] for suite in suites
            ]
        if not found:
            raise PackagesError("apt has no mirror of Debian: add one, run apt-get update")
        return found

    def newest(self) -> list[str]:
        """The newest version of each suite, the oldest kernel first."""
        versions: dict[str, str] = {}
        for line in self._apt("apt-cache", "madison", META_PACKAGE).splitlines():
            _, version, source = (each.strip() for each in line.split("|"))
            suite = source.split()[1].removesuffix("/main").removesuffix("-security")
            versions.setdefault(suite, version)
        return sorted(set(versions.values()), key=_sort_key)

    def find(self, wanted: str) -> str:
        """The newest version that is `wanted` or begins with it and a dot: 6.12, or 6.12.107-1."""
        lines = self._apt("apt-cache", "madison", META_PACKAGE).splitlines()
        versions = [line.split("|")[1].strip() for line in lines]
        for version in versions:
            if version == wanted or version.startswith(f"{wanted}."):
                return version
        raise PackagesError(f"no kernel {wanted}: there are {', '.join(versions)}")

    def fetch(self, version: str) -> Kernel:
        """Fetches and unpacks the kernel of that version of the packages, unless it is there."""
        packages = self.fetch_packages(self._parts(self._image_package(version), version), version)
        unpacked = self.directory / version / "unpacked"
        if not unpacked.exists():
            unpack(packages, unpacked)
        return _locate(unpacked, packages)

    def fetch_packages(self, names: Iterable[str], version: str) -> tuple[Package, ...]:
        """Fetches them, all of that version, unless they are there."""
        packages = tuple(self._package(name, version) for name in names)
        missing = [each for each in packages if not each.file.exists() or _sha256(each.file) != each.sha256]
        if missing:
            self._apt("apt-get", "download", "-qq", *(f"{each.name}={version}" for each in missing))
        return packages

    def _image_package(self, version: str) -> str:
        for name in self._depends(META_PACKAGE, version):
            if name.startswith("linux-image-"):
                return name
        raise PackagesError(f"{META_PACKAGE} {version} names no image")

    def _parts(self, image: str, version: str) -> list[str]:
        return [image, *(name for name in self._depends(image, version) if _KERNEL_PACKAGE.fullmatch(name))]

    def _depends(self, name: str, version: str) -> list[str]:
        depends = self._field(name, version, "Depends")
        return [alternative.split()[0] for each in depends.split(",") for alternative in each.split("|")]

    def _package(self, name: str, version: str) -> Package:
        file = self.directory / Path(self._field(name, version, "Filename")).name
        return Package(name, version, self._field(name, version, "SHA256"), file)

    def _field(self, name: str, version: str, field: str) -> str:
        shown = self._apt("apt-cache", "show", "--no-all-versions", f"{name}={version}")
        found = re.search(rf"^{field}: (.*)$", shown, re.MULTILINE)
        if found is None:
            raise PackagesError(f"{name} {version} has no {field}")
        return found[1]

    def _apt(self, program: str, *words: str) -> str:
        options = {
            "Dir::Etc::sourcelist": self.directory / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": self.directory / "lists",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.directory,
            # Images for containers turn these off, and each call reads all lists then.
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "APT::Sandbox::User": "root",
        }
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return run(program, *settings, *words, directory=self.directory)


def run(*command: str, directory: Path | None = None) -> str:
    """What a command says. Raises PackagesError with what it says of its failure."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
    if done.returncode != 0:
        raise PackagesError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _sort_key(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def unpack(packages: Sequence[Package], target: Path) -> None:
    """Makes `target` of their files, all or nothing. Raises PackagesError."""
    for each in packages:
        if _sha256(each.file) != each.sha256:
            raise PackagesError(f"{each.file.name} is not what the archive's index says")
    partial = target.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    for each in packages:
        run("dpkg-deb", "--extract", str(each.file), str(partial))
    for modules in _modules(partial):
        run("depmod", "--basedir", str(modules.parents[2]), modules.name)
    partial.rename(target)


def _locate(unpacked: Path, packages: tuple[Package, ...]) -> Kernel:
    (modules,) = _modules(unpacked)
    (image,) = [*unpacked.glob("boot/vmlinuz-*"), *modules.glob("vmlinuz")]
    return Kernel(modules.name, packages, image, modules)


def _modules(unpacked: Path) -> list[Path]:
    return [*unpacked.glob("lib/modules/*"), *unpacked.glob("usr/lib/modules/*")]
