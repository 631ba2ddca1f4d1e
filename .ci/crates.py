"""Checks the crates of the workspace against each other: prints what is wrong, exits 1 if anything is.

- A declared dependency is used by the sources that may use it.
- A workspace dependency is declared by some crate.
- Dependencies between rooms point one way (the table ROOMS below).
- Every crate obeys the lints of the workspace.

A crate that is declared only to switch on a feature of another is named, with the reason beside it, in
`[package.metadata] declared-for-features = ["…"]`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

# Which other rooms each room may use. The program itself and its load tester may use all of them.
ROOMS = {
    "paredao-domain": set(),
    "paredao-telemetry": set(),
    "paredao-vote-log": {"paredao-domain", "paredao-telemetry"},
    "paredao-store": {"paredao-domain", "paredao-telemetry"},
    "paredao-intake": {"paredao-domain", "paredao-vote-log", "paredao-telemetry"},
    "paredao-consumer": {
        "paredao-domain",
        "paredao-vote-log",
        "paredao-store",
        "paredao-telemetry",
    },
    "paredao-api": {
        "paredao-domain",
        "paredao-intake",
        "paredao-store",
        "paredao-telemetry",
        "paredao-vote-log",
    },
    "paredao-noop": set(),
}

# Where a dependency of each kind may be used, below the folder of its crate.
USED_IN = {
    None: ("src",),
    "dev": ("src", "tests", "benches", "examples"),
    "build": ("build.rs",),
}


def workspace():
    """What cargo knows of the workspace's own crates; asks no registry."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--offline"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def rust_source(places):
    """The code of every Rust file in the given files and folders, without line comments."""
    files = []
    for place in places:
        files += sorted(place.rglob("*.rs")) if place.is_dir() else [place]
    text = "\n".join(file.read_text() for file in files if file.exists())
    return re.sub(r"//[^\n]*", "", text)


def unused_dependencies(package):
    folder = Path(package["manifest_path"]).parent
    excused = (package["metadata"] or {}).get("declared-for-features", [])
    for dependency in package["dependencies"]:
        name = dependency["rename"] or dependency["name"]
        kind = dependency["kind"]
        source = rust_source(folder / place for place in USED_IN[kind])
        identifier = name.replace("-", "_")
        used = re.search(rf"\b{identifier}::|\buse {identifier}\b", source)
        if not used and name not in excused:
            where = " or ".join(USED_IN[kind])
            yield f"{package['name']}: {name} is declared and not used in {where}"


def wrong_directions(package):
    if package["name"] not in ROOMS:
        return
    for dependency in package["dependencies"]:
        name = dependency["name"]
        is_room = dependency["source"] is None and name.startswith("paredao")
        if dependency["kind"] is None and is_room and name not in ROOMS[package["name"]]:
            yield f"{package['name']}: may not depend on {name}"


def lints_not_inherited(package):
    manifest = Path(package["manifest_path"]).read_text()
    if not re.search(r"^\[lints\]\s*\nworkspace = true$", manifest, re.MULTILINE):
        yield f"{package['name']}: lacks `[lints] workspace = true`"


def unclaimed_workspace_dependencies(root, packages):
    manifest = (root / "Cargo.toml").read_text()
    section = re.search(
        r"^\[workspace\.dependencies\]\n(.*?)(?=^\[|\Z)",
        manifest,
        re.MULTILINE | re.DOTALL,
    )
    names = re.findall(r"^([\w-]+)\s*=", section[1], re.MULTILINE) if section else []
    claimed = {dependency["name"] for package in packages for dependency in package["dependencies"]}
    claimed |= {dependency["rename"] for package in packages for dependency in package["dependencies"]}
    for name in names:
        if name not in claimed:
            yield f"Cargo.toml: workspace dependency {name} is declared by no crate"


def main():
    metadata = workspace()
    packages = metadata["packages"]
    findings = [
        finding
        for package in packages
        for check in (unused_dependencies, wrong_directions, lints_not_inherited)
        for finding in check(package)
    ]
    findings += unclaimed_workspace_dependencies(Path(metadata["workspace_root"]), packages)
    print("\n".join(findings), end="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
