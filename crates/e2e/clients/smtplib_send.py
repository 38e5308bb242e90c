"""Sends one message with Python's smtplib.

usage: smtplib_send.py JSON

The JSON says: host, port, security (starttls or implicit), mechanism (PLAIN or LOGIN), user, password, sender,
recipients, and either file (sent as it is) or attachment_octets (a message is composed with an attachment of random
octets, and what was sent is written to sent).
"""

import email.policy
import json
import random
import smtplib
import ssl
import sys
from email.message import EmailMessage


def composed(order):
    octets = random.Random(1).randbytes(order["attachment_octets"])
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = "Ada <ada@sender.test>"
    message["To"] = "Bob <bob@example.test>"
    message["Subject"] = "A large one"
    message["Date"] = "Sun, 22 Nov 2026 10:00:00 +0000"
    message["Message-ID"] = "<large@client.test>"
    message["X-Story-Id"] = order["id"]
    message.set_content("See the attachment.\n")
    message.add_attachment(octets, maintype="application", subtype="octet-stream", filename="large.bin")
    return message.as_bytes()


def main():
    order = json.loads(sys.argv[1])
    if "file" in order:
        with open(order["file"], "rb") as file:
            message = file.read()
    else:
        message = composed(order)
        with open(order["sent"], "wb") as file:
            file.write(message)
    context = ssl._create_unverified_context()
    if order["security"] == "implicit":
        client = smtplib.SMTP_SSL(order["host"], order["port"], context=context, timeout=60)
    else:
        client = smtplib.SMTP(order["host"], order["port"], timeout=60)
        client.starttls(context=context)
    client.ehlo()
    client.user, client.password = order["user"], order["password"]
    method = {"PLAIN": client.auth_plain, "LOGIN": client.auth_login}[order["mechanism"]]
    client.auth(order["mechanism"], method)
    options = order.get("options", [])
    refused = client.sendmail(order["sender"], order["recipients"], message, mail_options=options)
    client.quit()
    if refused:
        sys.exit(f"refused: {refused}")


main()
