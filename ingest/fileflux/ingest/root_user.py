"""The root user exists from the first start, with the key pair that the settings name."""

from typing import Any

from fileflux.core.changes import OK, Actor, Change, CreateKey, CreateUser, DeleteKey, SetPassword
from fileflux.core.errors import Invalid, MetadataBusy
from fileflux.core.ids import UserId
from fileflux.ingest.dependencies import Dependencies
from fileflux.metadata.identity import decrypt_secret, encrypt_secret

ROOT_NAME = "root"
ROOT_ID = UserId(b"fileflux-root-00")
"""Fixed, so that two ingests that start at once make the same user."""
RACE_STATUSES = frozenset({OK, "EntityAlreadyExists"})


async def ensure_root(deps: Dependencies, access_key: str, secret_key: str) -> None:
    """Make the user, or give it the new secret; running it twice at once is harmless."""
    user = await deps.reader.find_user(ROOT_NAME)
    if user is None:
        await _submit(deps, _create_user(deps, await deps.passwords.hash(secret_key)))
    found = await deps.reader.find_key(access_key)
    if found is not None:
        _check_owner(found[1].user_id, access_key)
        if decrypt_secret(deps.master_key, access_key, found[0].secret) == secret_key:
            return
        await _submit(deps, DeleteKey(access_key=access_key, **_who(deps)))
    await _submit(deps, _create_key(deps, access_key, secret_key))
    if user is not None:
        password_hash = await deps.passwords.hash(secret_key)
        change = SetPassword(user_id=ROOT_ID, password_hash=password_hash, **_who(deps))
        await _submit(deps, change)


def _check_owner(owner: UserId, access_key: str) -> None:
    if owner != ROOT_ID:
        raise Invalid(
            f"FILEFLUX_ROOT_ACCESS_KEY {access_key} is another user's key; choose another one"
        )


def _create_user(deps: Dependencies, password_hash: str) -> CreateUser:
    return CreateUser(
        user_id=ROOT_ID,
        name=ROOT_NAME,
        password_hash=password_hash,
        is_root=True,
        **_who(deps),
    )


def _create_key(deps: Dependencies, access_key: str, secret_key: str) -> CreateKey:
    secret = encrypt_secret(deps.master_key, access_key, secret_key)
    return CreateKey(user_id=ROOT_ID, access_key=access_key, secret=secret, **_who(deps))


def _who(deps: Dependencies) -> dict[str, Any]:
    actor = Actor(ROOT_ID, ROOT_NAME, "", user_agent="fileflux start-up")
    return {"upload_id": deps.new_upload_id(), "actor": actor, "at_us": deps.clock.now_us()}


async def _submit(deps: Dependencies, change: Change) -> None:
    outcome = await deps.direct.submit(change)
    if outcome.status not in RACE_STATUSES:
        raise MetadataBusy(f"the root user cannot be made: {outcome.status} {outcome.detail}")
