"""An audit event as one line: for a person, or for a script."""

from fileflux.console.upload_story import printable
from fileflux.metadata.audit_filter import OpenedRecord
from fileflux.metadata.audit_json import structured


def line_of(opened: OpenedRecord, *, as_json: bool) -> str:
    """Return the line without its end. For people, controls in names are shown escaped."""
    if as_json:
        return structured(opened.record).decode()
    data = opened.data
    name = "/".join(filter(None, (data["bucket"], data.get("key", data.get("key_base64")))))
    who = data["actor"].get("user_name", "")
    outcome = data["facts"].get("outcome", "")
    what = f"{opened.event['time']} {data['operation']:<22} {outcome:<6}"
    return f"{opened.record.position:>8} {what} {printable(f'{who} {name}')}"
