"""Reads every JSON, TOML and YAML file given: prints those that do not parse, exits 1 if any does not."""

import json
import sys
import tomllib
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


def read(path):
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".toml":
        tomllib.loads(path.read_text())
    else:
        list(YAML(typ="safe").load_all(path))


def main(names):
    status = 0
    for name in names:
        try:
            read(Path(name))
        except (ValueError, YAMLError) as error:
            print(f"{name}: {error}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
