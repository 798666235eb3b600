"""Users, their access keys, and what operators want of the nodes."""

from dataclasses import replace
from typing import Final

from fileflux.core.changes import (
    CreateKey,
    CreateUser,
    DeleteKey,
    DeleteUser,
    Outcome,
    SetKeyActive,
    SetNodeIntent,
    SetPassword,
)
from fileflux.metadata.overlay import Overlay
from fileflux.metadata.refusals import refused
from fileflux.metadata.rows import KeyRow, NodeRow, UserRow

INTENTS: Final = ("active", "drain", "remove")


def create_user(state: Overlay, change: CreateUser) -> Outcome:
    if change.name in state.user_names or change.user_id in state.users:
        return refused(change, "EntityAlreadyExists")
    row = UserRow(
        user_id=change.user_id,
        name=change.name,
        password_hash=change.password_hash,
        is_root=change.is_root,
        created_us=change.at_us,
        row_stamp=state.stamp,
    )
    state.put(row)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def set_password(state: Overlay, change: SetPassword) -> Outcome:
    user = state.users.get(change.user_id)
    if user is None:
        return refused(change, "NoSuchEntity")
    state.put(replace(user, password_hash=change.password_hash, row_stamp=state.stamp))
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def delete_user(state: Overlay, change: DeleteUser) -> Outcome:
    """Remove a user that owns no bucket; the keys go with it."""
    user = state.users.get(change.user_id)
    if user is None:
        return refused(change, "NoSuchEntity")
    if state.owns_buckets(change.user_id):
        return refused(change, "DeleteConflict", "the user owns buckets")
    for key in state.keys_of(change.user_id):
        state.remove(key)
    state.remove(user)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def create_key(state: Overlay, change: CreateKey) -> Outcome:
    if change.user_id not in state.users:
        return refused(change, "NoSuchEntity")
    if change.access_key in state.keys:
        return refused(change, "EntityAlreadyExists")
    row = KeyRow(
        access_key=change.access_key,
        user_id=change.user_id,
        secret=change.secret,
        active=True,
        created_us=change.at_us,
        row_stamp=state.stamp,
    )
    state.put(row)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def set_key_active(state: Overlay, change: SetKeyActive) -> Outcome:
    key = state.keys.get(change.access_key)
    if key is None:
        return refused(change, "NoSuchEntity")
    state.put(replace(key, active=change.active, row_stamp=state.stamp))
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def delete_key(state: Overlay, change: DeleteKey) -> Outcome:
    key = state.keys.get(change.access_key)
    if key is None:
        return refused(change, "NoSuchEntity")
    state.remove(key)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)


def set_node_intent(state: Overlay, change: SetNodeIntent) -> Outcome:
    if change.intent not in INTENTS:
        return refused(change, "InvalidArgument", f"the intent is one of {', '.join(INTENTS)}")
    row = NodeRow(
        node_id=change.node_id,
        intent=change.intent,
        weight=change.weight,
        row_stamp=state.stamp,
    )
    state.put(row)
    return Outcome(upload_id=change.upload_id, stamp=state.stamp)
