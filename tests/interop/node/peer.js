// A peer by the package ws of node, as a server and as a client.
//
//     node peer.js serve COMPRESSION [CERTIFICATE KEY]
//     node peer.js connect COMPRESSION URI [CERTIFICATE]
//
// COMPRESSION is "deflate" or "none". The server prints its port, sends every message back, and closes
// connections to /close. The client sends messages and checks that they come back, pings, closes, and
// prints as JSON what it has seen. Whatever goes wrong ends the process with an error.

"use strict";

const assert = require("assert");
const fs = require("fs");
const http = require("http");
const https = require("https");
const WebSocket = require("ws");

const CLOSE = [4321, "caf\u00e9"];

const MESSAGES = [
  "",
  "hello",
  "caf\u00e9",
  Buffer.from(Array.from({ length: 256 }, (_, number) => number)),
  "x".repeat(70000),
  Buffer.alloc(2 ** 21),
  "y".repeat(2 ** 21),
];

function fail(error) {
  console.error(error);
  process.exit(1);
}

process.on("unhandledRejection", fail);

function serve(compression, certificate, key) {
  const server = certificate
    ? https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) })
    : http.createServer();
  const listener = new WebSocket.WebSocketServer({ server, perMessageDeflate: compression === "deflate" });
  listener.on("connection", (socket, request) => {
    if (request.url === "/close") {
      socket.close(...CLOSE);
    } else {
      socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    }
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
}

function once(socket, event) {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once(event, (...values) => resolve(values));
  });
}

async function open(uri, compression, certificate) {
  const options = { perMessageDeflate: compression === "deflate" };
  if (certificate) {
    options.ca = fs.readFileSync(certificate);
  }
  const socket = new WebSocket(uri, ["other", "chat"], options);
  await once(socket, "open");
  return socket;
}

async function connect(compression, uri, certificate) {
  const socket = await open(uri, compression, certificate);
  for (const message of MESSAGES) {
    const echo = once(socket, "message");
    socket.send(message);
    const [data, isBinary] = await echo;
    assert.strictEqual(isBinary, typeof message !== "string");
    assert(data.equals(Buffer.from(message)));
  }
  const echo = once(socket, "message");
  socket.send("frag", { fin: false });
  socket.send("ments", { fin: true });
  assert.strictEqual(String((await echo)[0]), "fragments");
  const pong = once(socket, "pong");
  socket.ping("are you there?");
  assert.strictEqual(String((await pong)[0]), "are you there?");
  const closed = once(socket, "close");
  socket.close(...CLOSE);
  const [code, reason] = await closed;

  const other = await open(`${uri}close`, compression, certificate);
  const [theirCode, theirReason] = await once(other, "close");
  console.log(
    JSON.stringify({
      extensions: socket.extensions,
      subprotocol: socket.protocol,
      answer: [code, String(reason)],
      close: [theirCode, String(theirReason)],
    }),
  );
}

const [mode, ...values] = process.argv.slice(2);
if (mode === "serve") {
  serve(...values);
} else {
  connect(...values).catch(fail);
}
