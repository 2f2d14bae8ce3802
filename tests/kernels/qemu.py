"""A virtual machine for one of Debian's kernels, emulated by QEMU."""

import lzma
import shutil
import subprocess
from pathlib import Path

INIT = Path(__file__).with_name("init_qemu.sh")
BUSYBOX = Path("/bin/busybox")
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
"""What the initial file system loads; the rest comes by the kernel's own requests, from the package's modules."""
MEMORY = "3G"
PROCESSORS = 1
"""Two wait for each other while one is not run, which takes longer on a busy machine than one alone."""
PROCESSOR = "max,-erms,-fsrm,-la57,-smap,-smep"
"""Without what is slow as a program: string instructions, which take one step for each byte, a fifth level of page
tables, and what separates the kernel from its processes once more."""


def command(image: Path, modules: Path, results: Path) -> list[str]:
    """What starts it; makes the initial file system in `results`."""
    initial = results / "initial.cpio"
    _make_initial(modules, results / "initial", initial)
    shares = (
        ("host", Path("/"), ",readonly=on"),
        ("modules", modules, ",readonly=on"),
        ("results", results, ""),
    )
    line = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", PROCESSOR, "-smp", str(PROCESSORS)]
    line += ["-m", MEMORY, "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]
    for tag, path, options in shares:
        line += ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap{options}"]
    # On a busy host the emulated timer can miss the moment in which the kernel looks whether it ticks. The rest
    # of these settings leave out what is slow where the processor is a program.
    arguments = "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off init_on_alloc=0 apparmor=0 audit=0"
    return [*line, "-kernel", str(image), "-initrd", str(initial), "-append", arguments]


def _make_initial(modules: Path, tree: Path, archive: Path) -> None:
    for name in ("bin", "dev", "proc", "sys", "host", "memory", "root", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, tree / "bin/busybox")
    shutil.copy(INIT, tree / "init")
    (tree / "init").chmod(0o755)
    names = []
    for module in _in_order(modules):
        data = module.read_bytes()
        if module.suffix == ".xz":
            data = lzma.decompress(data)
        names.append(module.name.split(".")[0] + ".ko")
        (tree / "modules" / names[-1]).write_bytes(data)
    (tree / "modules/order").write_text("\n".join(names) + "\n")
    listing = "".join(f"{path.relative_to(tree)}\n" for path in sorted(tree.rglob("*")))
    with archive.open("wb") as output:
        archiver = [str(BUSYBOX), "cpio", "-o", "-H", "newc"]
        subprocess.run(archiver, input=listing.encode(), stdout=output, stderr=subprocess.DEVNULL, cwd=tree, check=True)
    shutil.rmtree(tree)


def _in_order(modules: Path) -> list[Path]:
    """The files of MODULES and of what they need, each after what it needs; what is built in has none."""
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, needed = line.partition(":")
        needs[file] = needed.split()
    by_name = {Path(file).name.split(".")[0].replace("-", "_"): file for file in needs}
    order: list[str] = []
    for name in MODULES:
        # depmod names first what has to be loaded last.
        order += [
            each
            for file in ([by_name[name]] if name in by_name else [])
            for each in [*reversed(needs[file]), file]
            if each not in order
        ]
    return [modules / file for file in order]
