// Print the audit stream with Node: npm install kafkajs
//
// KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 node examples/follow_audit.mjs
//
// A real consumer keeps the position with its effect, and passes over what it has.

import { Kafka, logLevel } from "kafkajs";

const kafka = new Kafka({ brokers: process.env.KAFKA_BOOTSTRAP_SERVERS.split(","), logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId: process.env.GROUP ?? "follow-audit" });
let position = 0;

await consumer.connect();
await consumer.subscribe({ topic: "fileflux.audit", fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message }) => {
    const found = Number(message.headers.ce_position);
    if (found <= position) return; // Published again.
    if (position > 0 && found !== position + 1) throw new Error(`${found} follows ${position}`);
    position = found;
    console.log(`${position} ${message.headers.ce_type} ${message.headers.ce_source}`);
  },
});
