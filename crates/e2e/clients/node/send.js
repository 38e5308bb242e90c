// Sends one message with nodemailer.
//
// usage: node send.js JSON
//
// The JSON says: host, port, security (starttls or implicit), mechanism, user, password, sender, recipients, file.

const fs = require("node:fs");
const nodemailer = require("nodemailer");

const order = JSON.parse(process.argv[2]);

const transport = nodemailer.createTransport({
  host: order.host,
  port: order.port,
  secure: order.security === "implicit",
  requireTLS: true,
  auth: { user: order.user, pass: order.password },
  authMethod: order.mechanism,
  tls: { rejectUnauthorized: false },
});

transport
  .sendMail({
    envelope: { from: order.sender, to: order.recipients },
    raw: fs.readFileSync(order.file),
  })
  .then((info) => {
    if (info.rejected.length > 0) {
      throw new Error(`rejected: ${info.rejected}`);
    }
    console.log(info.response);
    transport.close();
  })
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
