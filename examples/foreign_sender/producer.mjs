// A program outside, in JavaScript, that sends to Nexus over AMQP. Keys: python producer.py keygen shop
//
//   npm install
//   node producer.mjs amqp://shop:secret@host/ shop.private.jwk shop '{"source": "shop", "subject": "clerk",
//     "partitionkey": "order-7", "type": "order.placed", "data": {"items": 3}}' [exchange]
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import amqp from "amqplib";

const [url, keyFile, kid, attributes, exchange = "nexus.inbox"] = process.argv.slice(2);

const event = { specversion: "1.0", id: randomUUID(), time: new Date().toISOString(), ...JSON.parse(attributes) };
const body = Buffer.from(JSON.stringify(event)); // these exact bytes are signed and sent

const header = Buffer.from(JSON.stringify({ alg: "Ed25519", kid })).toString("base64url");
const key = createPrivateKey({ key: JSON.parse(readFileSync(keyFile, "utf8")), format: "jwk" });
const signed = sign(null, Buffer.from(`${header}.${body.toString("base64url")}`), key);

const connection = await amqp.connect(url);
const channel = await connection.createConfirmChannel();
let returned = false;
channel.on("return", () => { returned = true; });
channel.publish(exchange, "", body, {
  contentType: "application/cloudevents+json",
  headers: { signature: `${header}..${signed.toString("base64url")}` },
  mandatory: true,
  persistent: true,
});
await channel.waitForConfirms(); // rejects when the inbox is full: send the same event again later
await connection.close();
if (returned) throw new Error(`Nothing reads the exchange ${exchange}.`);
console.log(`sent ${event.id}`);
