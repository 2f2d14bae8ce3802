"""Giving up root, in a process of its own: there is no way back."""

import json
import subprocess
import sys

import pytest

from tests.e2e.harness.namespace import ROOT

PROGRAM = """
import json, os, pathlib, sys, threading
from tcpcryptd.netio.kernel import capabilities
from tcpcryptd.netio.process.privileges import Account, drop_privileges

done = threading.Event()
before = threading.Thread(target=done.wait, daemon=True)
before.start()
drop_privileges(Account.find("nobody"))
with capabilities.passed_to_children():
    inside = capabilities.read_status()["CapAmb"]
def refused(action, *arguments):
    try:
        action(*arguments)
    except PermissionError:
        return True
    return False
report = {
    "threads": [capabilities.read_status(task / "status") for task in pathlib.Path("/proc/self/task").iterdir()],
    "ambient": [inside, capabilities.read_status()["CapAmb"]],
    "refused": [refused(os.setuid, 0), refused(os.setgid, 0), refused(os.chown, "/", 65534, 65534)],
    "dumpable": os.stat("/proc/self/mem").st_uid,
}
done.set()
json.dump(report, sys.stdout)
"""


@pytest.mark.usefixtures("_root")
def test_nothing_but_two_capabilities_is_left() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    kept = f"{1 << 12 | 1 << 13:016x}"
    nothing = f"{0:016x}"
    assert len(report["threads"]) >= 2
    assert {tuple(status["Uid"].split()) for status in report["threads"]} == {("65534",) * 4}
    assert {status["Groups"] for status in report["threads"]} == {""}
    assert sorted({status["CapPrm"] for status in report["threads"]}) == [nothing, kept]
    (main,) = (status for status in report["threads"] if status["CapPrm"] == kept)
    assert {main[name] for name in ("CapEff", "CapInh", "CapBnd")} == {kept}
    assert main["NoNewPrivs"] == "1"
    assert report["ambient"] == [kept, nothing]
    assert report["refused"] == [True, True, True]
    assert report["dumpable"] == 0
