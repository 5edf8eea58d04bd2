"""Install the projection of docs/guides/projections.md, as pip would, without asking an index for its build backend.

`python -m tests.support.example_projection FOLDER`: FOLDER is to be in PYTHONPATH.
"""

import re
import sys
import tomllib
from pathlib import Path

from tests.support.transcripts import DOCS


def install(site: Path) -> None:
    """Write the module and its metadata into a new folder."""
    text = (DOCS / "guides" / "projections.md").read_text(encoding="utf-8")
    [module] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    project = tomllib.loads(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0])
    about = project["project"]
    info = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    lines: list[str] = []
    for group, entries in about["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (site / f"{project['tool']['setuptools']['py-modules'][0]}.py").write_text(module)


if __name__ == "__main__":
    install(Path(sys.argv[1]))
