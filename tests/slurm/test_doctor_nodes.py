"""The doctor on the nodes of a cluster. 20 seconds on two processors."""

import json
from pathlib import Path

from tests.helpers.slurm_cluster import Cluster


def test_two_nodes_are_examined_and_nothing_is_left_behind(cluster: Cluster, scenes: Path, tmp_path: Path) -> None:
    answer = json.loads(cluster.dsva("doctor", "--nodes=2", f"--folder={tmp_path}", f"--shards={scenes}", "--json"))
    assert answer["verdict"] in ("OK", "WARN"), answer
    nodes = {finding["node"] for finding in answer["findings"] if finding["check"] == "shards"}
    assert len({node for node in nodes if node.startswith("node")}) == 2
    assert len(nodes) == 3, "and this machine itself"
    checks = [finding["check"] for finding in answer["findings"]]
    counted = {name: checks.count(name) for name in ("all-reduce", "all-reduce over nodes", "shared folder", "clocks of nodes")}
    assert counted == {"all-reduce": 1, "all-reduce over nodes": 2, "shared folder": 2, "clocks of nodes": 1}
    assert all("2 nodes" in finding["said"] for finding in answer["findings"] if finding["check"] == "shared folder")
    assert list(tmp_path.iterdir()) == []
    assert cluster.idle()


def test_nodes_that_never_come_are_a_failure_with_words(cluster: Cluster, tmp_path: Path) -> None:
    command = ["doctor", "--nodes=2", f"--folder={tmp_path}", "--wait=3", "--json"]
    for node in ("node1", "node2", "node3"):
        cluster.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        cluster.fails(*command)
    finally:
        for node in ("node1", "node2", "node3"):
            cluster.run("scontrol", "update", f"nodename={node}", "state=resume")
    assert list(tmp_path.iterdir()) == []
    assert cluster.idle()
