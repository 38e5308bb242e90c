"""Reads a delivery status notification (RFC 3464) from standard input with Python's own parser, and prints what it
says as JSON. Anything that is not as the RFCs ask for is listed under "faults".
"""

import email
import email.policy
import json
import sys


def main():
    message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
    faults = [f"{part.get_content_type()}: {defect!r}" for part in message.walk() for defect in part.defects]
    if message.get_content_type() != "multipart/report":
        faults.append(f"the type is {message.get_content_type()}")
    if message.get_param("report-type") != "delivery-status":
        faults.append(f"the report-type is {message.get_param('report-type')}")
    for name in ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version"):
        if len(message.get_all(name, [])) != 1:
            faults.append(f"{name} is there {len(message.get_all(name, []))} times")
    parts = list(message.iter_parts())
    types = [part.get_content_type() for part in parts]
    status = next((part for part in parts if part.get_content_type() == "message/delivery-status"), None)
    groups = []
    if status is None:
        faults.append("no message/delivery-status")
    else:
        groups = [{name.lower(): str(value) for name, value in group.items()} for group in status.get_payload()]
    returned = ""
    if len(parts) > 2:
        returned = parts[2].as_string()
    text = parts[0].get_content() if parts and types[0].startswith("text/") else ""
    print(
        json.dumps(
            {
                "faults": faults,
                "types": types,
                "from": str(message["From"]),
                "to": str(message["To"]),
                "subject": str(message["Subject"]),
                "auto_submitted": str(message["Auto-Submitted"]),
                "text": text,
                "message": groups[0] if groups else {},
                "recipients": [group for group in groups[1:] if group],
                "returned": returned,
            }
        )
    )


main()
