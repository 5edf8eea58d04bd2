"""pm4py, the tool most used for process mining in Python, reads our OCEL exports (where it is installed)."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from queuectl import Queue
from queuectl.audit.import_log import load
from queuectl.export import Export
from queuectl.export.rows import Selection
from tests.support.paths import DATA

LOG = DATA / "queue_v1.ndjson"
READ = """
import json
import pm4py
from pm4py.objects.ocel.validation import ocel20_rel_validation

told = {}
for name, log in (("json", pm4py.read_ocel2_json("log.json")), ("sqlite", pm4py.read_ocel2_sqlite("log.sqlite"))):
    jobs = pm4py.ocel_flattening(log, "job")
    told[name] = {
        "events": sorted(log.events["ocel:eid"]),
        "objects": sorted(log.objects["ocel:oid"]),
        "relations": sorted(map(list, log.relations[["ocel:eid", "ocel:oid", "ocel:qualifier"]].values)),
        "belongs": sorted(map(list, log.o2o[["ocel:oid", "ocel:oid_2"]].values)),
        "times": sorted({str(time.tzinfo) for time in log.events["ocel:timestamp"]}),
        "changes": len(log.object_changes) > 0,
        "cases": jobs["case:concept:name"].nunique(),
    }
told["broken"] = list(ocel20_rel_validation.apply("log.sqlite")[1])
print(json.dumps(told))
"""


@pytest.mark.skipif(find_spec("pm4py") is None, reason="pm4py is not installed; test_ocel.py has the rules")
def test_pm4py_reads_the_same_from_both_forms(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        load(queue, LOG.read_bytes().splitlines(keepends=True))
        for format in ("json", "sqlite"):
            Export(queue, Selection(), f"ocel-{format}").write(str(tmp_path / f"log.{format}"))
        events = sorted(f"event:{record.seq}" for record in queue.events())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ], cwd=tmp_path, capture_output=True, timeout=50, check=True
    )
    told = msgspec.json.decode(done.stdout.splitlines()[-1])
    assert told["broken"] == []
    assert told["json"]["events"] == events, "not one event is lost"
    assert told["json"] == told["sqlite"]
    assert told["json"]["changes"]
    assert told["json"]["times"] == ["UTC"]
