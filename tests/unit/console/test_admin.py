"""What an operator is shown, and what is refused."""

from types import SimpleNamespace

import pytest
from argon2 import PasswordHasher

from fileflux.console.admin import Admin, AdminRefused
from fileflux.core.changes import Change, CreateKey, CreateUser, Outcome


class Direct:
    """Takes every change. `groups`: those that one transaction made."""

    def __init__(self) -> None:
        self.groups: list[tuple[Change, ...]] = []

    @property
    def changes(self) -> list[Change]:
        return [change for group in self.groups for change in group]

    async def submit_together(self, *changes: Change) -> tuple[Outcome, ...]:
        self.groups.append(changes)
        return tuple(Outcome(upload_id=change.upload_id) for change in changes)


@pytest.fixture
def direct() -> Direct:
    return Direct()


def _admin(direct: Direct) -> Admin:
    return Admin(SimpleNamespace(direct=direct), bytes(32))  # type: ignore[arg-type]


async def test_a_random_password_is_shown_and_is_the_users(direct: Direct) -> None:
    shown = await _admin(direct).create_user("alice", None)

    user = direct.changes[0]
    assert isinstance(user, CreateUser)
    assert PasswordHasher().verify(user.password_hash, shown["password"])
    assert shown["secret_key"]


async def test_a_user_and_its_first_key_are_made_together(direct: Direct) -> None:
    await _admin(direct).create_user("alice", None)

    assert [[type(change) for change in group] for group in direct.groups] == [
        [CreateUser, CreateKey]
    ]


async def test_a_password_that_somebody_brought_is_not_shown_again(direct: Direct) -> None:
    shown = await _admin(direct).create_user("alice", "brought along")

    assert "brought along" not in str(shown)


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025])
async def test_a_password_that_clients_could_not_use_is_refused(
    direct: Direct, password: str
) -> None:
    with pytest.raises(AdminRefused, match="8 to 1024"):
        await _admin(direct).create_user("alice", password)

    assert direct.changes == []


async def test_what_was_said_of_nodes_is_listed_by_their_ids(direct: Direct) -> None:
    async def node_intents() -> dict[str, tuple[str, float]]:
        return {"node-b": ("drain", 1.0), "node-a": ("active", 0.5)}

    metadata = SimpleNamespace(direct=direct, reader=SimpleNamespace(node_intents=node_intents))
    listed = await Admin(metadata, bytes(32)).list_nodes()  # type: ignore[arg-type]

    assert listed == {
        "nodes": [
            {"node": "node-a", "intent": "active", "weight": 0.5},
            {"node": "node-b", "intent": "drain", "weight": 1.0},
        ]
    }
