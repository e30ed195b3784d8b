"""``ray_cluster.yaml`` is what ``ray up`` takes, and keeps the rules of a cluster that handles money."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CLUSTER_FILE = ROOT / "ray_cluster.yaml"

# In a process of its own: importing Ray takes a second, and leaves its threads behind.
_VALIDATE = """
import json, sys
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
config = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
validate_config(prepare_config(dict(config)))
json.dump(config, sys.stdout)
"""


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """The file as Ray's own validator accepted it."""
    done = subprocess.run(
        [sys.executable, "-c", _VALIDATE, str(CLUSTER_FILE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_ray_accepts_the_cluster_file(cluster: dict[str, Any]) -> None:
    """`ray up ray_cluster.yaml` finds a configuration that its schema allows."""
    assert cluster["cluster_name"] == "tallystick"
    assert cluster["provider"]["type"] == "local"


def test_every_ray_process_asks_for_the_token(cluster: dict[str, Any]) -> None:
    """No node starts Ray without token authentication: whoever reaches it could run code."""
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    starts = [command for command in commands if re.search(r"\bray start\b", command)]
    assert len(starts) == 2
    for command in commands:
        assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/" in command


def test_no_command_ends_strangers_or_opens_a_door(cluster: dict[str, Any]) -> None:
    """Nothing stops Ray by process name, serves its dashboard, or takes the queue's default port."""
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    assert not any("ray stop" in command for command in commands)
    head = next(command for command in commands if "--head" in command)
    assert "--include-dashboard=false" in head
    port = re.search(r"--port=(\d+)", head)
    assert port is not None
    assert port[1] != "6379"
    worker = cluster["worker_start_ray_commands"][0]
    assert f"--address=$RAY_HEAD_IP:{port[1]}" in worker


def test_hosts_find_a_place_on_every_machine(cluster: dict[str, Any]) -> None:
    """Head and workers offer the resource by which the supervisor places partition hosts."""
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    for command in commands:
        if "ray start" not in command:
            continue
        resources = re.search(r"--resources='([^']+)'", command)
        assert resources is not None
        assert json.loads(resources[1])["partition_host"] >= 1
