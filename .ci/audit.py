"""Look for known vulnerabilities in what is installed for the tests, by pip-audit: make audit

The environment has the latest versions that are allowed of everything that the package, with its extras, and
its tests need. The database is that of the index, https://pypi.org/pypi/NAME/VERSION/json.

Ends with an error if there is a vulnerability, and also if a package could not be audited, because the
database cannot be reached or does not have it: an audit of nothing is not clean.

    python .ci/audit.py SITE-PACKAGES [PIP-AUDIT]
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

OWN = "wsproto-core"
"""It is not audited: it is the sources here."""

UNREACHED = "https://pypi.org cannot be reached from here, or it gives no answer"


def report(found: dict[str, Any]) -> tuple[list[str], str | None]:
    """Return what to print about the answer of pip-audit, and the error, if there is one."""
    lines: list[str] = []
    skipped: list[str] = []
    for package in found["dependencies"]:
        if package["name"] != OWN and "skip_reason" in package:
            skipped.append(package["name"])
        for each in package.get("vulns", ()):
            fixed = f", fixed in {' and '.join(each['fix_versions'])}" if each["fix_versions"] else ""
            lines.append(f"{package['name']} {package['version']}: {each['id']}{fixed}")
    if lines:
        return lines, f"{len(lines)} known vulnerabilities"
    audited = len([each for each in found["dependencies"] if each["name"] != OWN]) - len(skipped)
    if skipped or not audited:
        return (
            [],
            f"{audited} packages were audited; {UNREACHED}, for {', '.join(skipped) or 'there are none'}",
        )
    return [f"{audited} packages were audited: no known vulnerabilities"], None


def main(packages: str, program: str = "pip-audit") -> None:
    command = [
        program,
        "--path",
        packages,
        "--skip-editable",
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        reason = done.stderr.strip().rpartition("\n")[2]
        sys.exit(f"nothing was audited; {UNREACHED}: {reason}")
    lines, error = report(found)
    print("\n".join(lines))
    if error:
        sys.exit(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
