// Judges cases on stdin (one JSON a line: {files: {name: base64}, policy, held, whole}) with the console's verifier; prints an outcome a line.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { judge } = await import(pathToFileURL(process.argv[2]));
const octets = (text) => new Uint8Array(Buffer.from(text, "base64"));
for await (const line of createInterface({ input: process.stdin })) {
  const { files, policy, held, whole } = JSON.parse(line);
  const read = async (name) => (Object.hasOwn(files, name) ? octets(files[name]) : null);
  const names = whole ? null : new Set(Object.keys(files));
  console.log(JSON.stringify(await judge({ names, read, policy: octets(policy), held })));
}
