"""What an audit record tells its readers about a change, besides the rows it wrote. Pure.

Facts are JSON-ready: text, numbers, lists, mappings. Ids are hexadecimal; keys are text, or base64
under another name where they are not UTF-8. Never a secret, a signature or a password hash.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from fileflux.core.changes import (
    AbortMultipart,
    AcceptAsync,
    Actor,
    Change,
    CompleteMultipart,
    ConfigureBucket,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateHold,
    CreateKey,
    CreateMultipart,
    CreateUser,
    DeleteBucket,
    DeleteKey,
    DeleteNewer,
    DeleteObject,
    DeleteUser,
    DropContent,
    Outcome,
    PutObject,
    PutPart,
    ReleaseHold,
    RestoreVersion,
    SetKeyActive,
    SetNodeIntent,
    SetPassword,
)
from fileflux.core.model import HopTimes
from fileflux.metadata.redaction import redacted
from fileflux.metadata.row_json import mapping_to_json
from fileflux.metadata.seals import SealFacts

Facts = dict[str, object]

OPERATIONS: Final[Mapping[type[Change], str]] = {
    PutObject: "PutObject",
    PutPart: "UploadPart",
    DeleteObject: "DeleteObject",
    CopyObject: "CopyObject",
    CreateMultipart: "CreateMultipartUpload",
    CopyPart: "UploadPartCopy",
    CompleteMultipart: "CompleteMultipartUpload",
    AbortMultipart: "AbortMultipartUpload",
    CreateBucket: "CreateBucket",
    DeleteBucket: "DeleteBucket",
    ConfigureBucket: "ConfigureBucket",
    CreateUser: "CreateUser",
    SetPassword: "SetPassword",
    DeleteUser: "DeleteUser",
    CreateKey: "CreateKey",
    SetKeyActive: "SetKeyActive",
    DeleteKey: "DeleteKey",
    SetNodeIntent: "SetNodeIntent",
    AcceptAsync: "AcceptAsync",
    DropContent: "DropContent",
    RestoreVersion: "RestoreVersion",
    DeleteNewer: "DeleteObject",
    CreateHold: "CreateHold",
    ReleaseHold: "ReleaseHold",
}
"""S3's names where S3 has one. They stand in stored records, so they never change."""


def key_facts(key: bytes, name: str = "key") -> Facts:
    """Return a key as text; a key that is not UTF-8 as base64, under `<name>_base64`."""
    try:
        return {name: key.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(key).decode()}


def actor_facts(actor: Actor) -> dict[str, str]:
    return {
        "user_id": actor.user_id.hex(),
        "user_name": actor.user_name,
        "key_id": actor.key_id,
        "source_address": actor.source_address,
        "user_agent": redacted(actor.user_agent),
        "request_id": actor.request_id,
        "trace_id": actor.trace_id,
        **({"traceparent": actor.traceparent} if actor.traceparent else {}),
    }


def facts_of(change: Change, outcome: Outcome, seals: SealFacts) -> Facts:
    """Return what came of the change, then what only its kind has."""
    facts = _outcome_facts(outcome)
    describe = _DETAILS.get(type(change))
    if describe is not None:
        facts.update(describe(change))
    if isinstance(change, PutObject | PutPart):
        facts["hops"] = _hop_facts(change.hops)
        facts["bundles"] = seals.placement_of(change.manifest)
    return facts


def _outcome_facts(outcome: Outcome) -> Facts:
    facts: Facts = {"outcome": outcome.status}
    if outcome.version_id is not None:
        facts["version"] = outcome.version_id.hex()
    if outcome.etag:
        facts["size"] = outcome.size
        facts["etag"] = outcome.etag
    if outcome.checksums:
        facts["checksums"] = mapping_to_json(outcome.checksums)
        facts["checksum_type"] = outcome.checksum_type
    if outcome.detail:
        facts["detail"] = outcome.detail
    return facts


def _hop_facts(hops: HopTimes) -> dict[str, int]:
    return asdict(hops)


def _put_object(change: PutObject) -> Facts:
    return {"class": change.storage_class, "async": change.is_async}


def _accept_async(change: AcceptAsync) -> Facts:
    return {"size": change.size}


def _drop_content(change: DropContent) -> Facts:
    return {"content": change.content_id.hex()}


def _part(change: PutPart | CopyPart) -> Facts:
    return {"multipart": change.multipart_id.hex(), "part": change.part_number}


def _copy_object(change: CopyObject) -> Facts:
    source: Facts = {"bucket": change.source_bucket, "version": change.source_version.hex()}
    return {"source": {**source, **key_facts(change.source_key)}}


def _copy_part(change: CopyPart) -> Facts:
    source: Facts = {
        "bucket_id": change.source_bucket_id.hex(),
        "version": change.source_version.hex(),
    }
    return {**_part(change), "source": {**source, **key_facts(change.source_key)}}


def _complete(change: CompleteMultipart) -> Facts:
    return {"multipart": change.multipart_id.hex(), "parts": len(change.parts)}


def _abort(change: AbortMultipart) -> Facts:
    return {"multipart": change.multipart_id.hex()}


def _create_multipart(change: CreateMultipart) -> Facts:
    return {"multipart": change.upload_id.hex(), "class": change.storage_class}


def _create_bucket(change: CreateBucket) -> Facts:
    return {"owner": change.owner_id.hex(), "class": change.storage_class}


def _configure_bucket(change: ConfigureBucket) -> Facts:
    return {"entries": sorted(change.entries)}


def _user(change: CreateUser | SetPassword | DeleteUser) -> Facts:
    name: Facts = {"name": change.name} if isinstance(change, CreateUser) else {}
    return {"user": change.user_id.hex(), **name}


def _create_key(change: CreateKey) -> Facts:
    return {"user": change.user_id.hex(), "access_key": change.access_key}


def _key_active(change: SetKeyActive) -> Facts:
    return {"access_key": change.access_key, "active": change.active}


def _delete_key(change: DeleteKey) -> Facts:
    return {"access_key": change.access_key}


def _node_intent(change: SetNodeIntent) -> Facts:
    return {"node": change.node_id, "intent": change.intent, "weight": change.weight}


def _restore(change: RestoreVersion) -> Facts:
    past: Facts = {"version": change.past_version.hex(), "position": change.past_position}
    return {"class": change.storage_class, "restored": past}


def _delete_newer(change: DeleteNewer) -> Facts:
    return {"restored": {"position": change.past_position}}


def _hold(change: CreateHold) -> Facts:
    kept: Facts = {"from_position": change.from_position, "until_us": change.until_us}
    return {"hold": change.hold_id.hex(), "kind": change.kind, "reason": change.reason, **kept}


def _release_hold(change: ReleaseHold) -> Facts:
    return {"hold": change.hold_id.hex()}


_DETAILS: Final[Mapping[type[Change], Callable[[Any], Facts]]] = {
    PutObject: _put_object,
    PutPart: _part,
    CopyObject: _copy_object,
    CopyPart: _copy_part,
    CreateMultipart: _create_multipart,
    CompleteMultipart: _complete,
    AbortMultipart: _abort,
    CreateBucket: _create_bucket,
    ConfigureBucket: _configure_bucket,
    CreateUser: _user,
    SetPassword: _user,
    DeleteUser: _user,
    CreateKey: _create_key,
    SetKeyActive: _key_active,
    DeleteKey: _delete_key,
    SetNodeIntent: _node_intent,
    AcceptAsync: _accept_async,
    DropContent: _drop_content,
    RestoreVersion: _restore,
    DeleteNewer: _delete_newer,
    CreateHold: _hold,
    ReleaseHold: _release_hold,
}
