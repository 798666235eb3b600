"""Rules for Faust's agents, read from the source: what an agent lets out is lost."""

import ast
from pathlib import Path

AGENTS = Path(__file__).parents[3] / "placement/fileflux/placement/agents.py"
TREE = ast.parse(AGENTS.read_text())


def agents() -> list[ast.AsyncFunctionDef]:
    """Return the functions decorated with `app.agent(…)`."""
    return [
        node
        for node in ast.walk(TREE)
        if isinstance(node, ast.AsyncFunctionDef)
        and any("agent" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]


def test_there_are_agents_to_check() -> None:
    assert [agent.name for agent in agents()] == ["read_heartbeats"]


def test_every_agent_is_one_loop_whose_body_is_one_try() -> None:
    """Faust takes an exception for an acknowledgement: the record is lost, and with it the rest."""
    for agent in agents():
        (loop,) = agent.body
        assert isinstance(loop, ast.AsyncFor)
        (body,) = loop.body
        assert isinstance(body, ast.Try)
        assert [ast.unparse(h.type) for h in body.handlers if h.type] == ["Exception"]
        assert not body.finalbody
        assert not body.orelse


def test_every_agent_handles_one_batch_at_a_time() -> None:
    """With concurrency Faust commits past what is in flight."""
    for agent in agents():
        (decorator,) = agent.decorator_list
        assert isinstance(decorator, ast.Call)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in decorator.keywords}
        assert keywords["concurrency"] == "1"


def test_agents_start_no_tasks_and_send_nothing_through_faust() -> None:
    called = {ast.unparse(node.func) for node in ast.walk(TREE) if isinstance(node, ast.Call)}

    assert not [name for name in called if name.endswith(("create_task", ".send", ".Table"))]


def test_faust_is_pinned_exactly() -> None:
    """Its rebalance listener broke between two releases: only the tested one is used."""
    pyproject = (AGENTS.parents[3] / "pyproject.toml").read_text()

    assert '"faust-streaming==0.15.3"' in pyproject
