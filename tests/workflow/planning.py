"""What Snakemake plans to do, for the tests of the workflow."""

import re

import yaml
from conftest import snakemake


def planned(folder, *arguments) -> dict[str, int]:
    """Return the number of jobs of each rule of a dry run."""
    done = snakemake(folder, "-n", "-q", "rules", *arguments)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    table = output.split("Job stats:", 1)
    if len(table) == 1:
        assert "Nothing to be done" in output
        return {}
    rows = re.findall(r"^(\w+) +(\d+)$", table[1].split("Job stats:")[0], re.M)
    return {rule: int(count) for rule, count in rows if rule not in ("all", "total")}


def overlay(folder, **sections) -> str:
    """Write one more configuration file of the study and return its path."""
    path = folder / "change.yaml"
    path.write_text(yaml.safe_dump(sections))
    return str(path)
