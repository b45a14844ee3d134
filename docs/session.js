// A client of the session protocol (docs/session.md) for browsers: it comes back, and gets what it missed.
//
//     const session = new Session("wss://example.com/");
//     session.subscribe("room.1", (message) => show(message.data), { gap: () => loadAgain() });
//     await session.publish("room.1", "Hello!");

export class Session {
  #url; #options; #socket; #timer;
  #topics = new Map(); // topic or pattern -> {message, gap, refused, position}
  #pending = new Map(); // id -> {frame, resolve, reject, sent}
  #lastId = 0;
  #delay = 0;
  #closed = false;

  // url: a URL, or a function that returns one, or a promise of one, before each attempt: for new credentials.
  // options.phase: called with "connecting", "live", "waiting" or "ended".
  // options.unconfirmed: "send" sends a message again whose confirmation was lost with the connection, so that
  //   it may be published twice; "fail" rejects its promise.
  // options.maxPending: the limit on messages that are not confirmed; publish throws at the limit.
  // options.firstDelay, options.maxDelay: milliseconds between attempts to connect.
  constructor(url, options = {}) {
    this.#url = url;
    this.#options = { unconfirmed: "send", maxPending: 1000, firstDelay: 1000, maxDelay: 60000, ...options };
    this.#connect();
  }

  // Subscribe to a topic or a pattern; handlers are called with each message, gap and refusal.
  // position: the last one that the page has; ":0" for all that the history has.
  subscribe(topic, message, { gap = () => {}, refused = () => {}, position } = {}) {
    if (this.#topics.has(topic)) throw new Error(`there is a subscription to ${topic} already`);
    this.#topics.set(topic, { message, gap, refused, position });
    if (this.live) this.#socket.send(encode({ type: "subscribe", topic, position }));
  }

  unsubscribe(topic) {
    if (this.#topics.delete(topic) && this.live) this.#socket.send(encode({ type: "unsubscribe", topic }));
  }

  // Publish a text or a Uint8Array; return a promise of its position.
  publish(topic, data) {
    if (this.#closed) throw new Error("the session has ended");
    if (this.#pending.size >= this.#options.maxPending) throw new Error("too many messages are not confirmed");
    const id = ++this.#lastId;
    const [text, bytes] = typeof data === "string" ? [data] : [undefined, data];
    return new Promise((resolve, reject) => {
      const frame = encode({ type: "publish", topic, id, text }, bytes);
      this.#pending.set(id, { frame, resolve, reject, sent: false });
      if (this.live) this.#sendPending();
    });
  }

  // The position that a subscription has reached.
  position(topic) {
    return this.#topics.get(topic)?.position;
  }

  get live() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    for (const { reject } of this.#pending.values()) reject(new Error("the session has ended"));
    this.#pending.clear();
    this.#options.phase?.("ended");
  }

  async #connect() {
    this.#options.phase?.("connecting");
    try {
      const url = typeof this.#url === "function" ? await this.#url() : this.#url;
      if (this.#closed) return;
      const socket = (this.#socket = new WebSocket(url, "topics.1"));
      socket.binaryType = "arraybuffer";
      socket.onopen = () => this.#opened();
      socket.onmessage = (event) => this.#received(...decode(event.data));
      socket.onclose = () => this.#lost();
    } catch {
      this.#lost();
    }
  }

  #opened() {
    this.#delay = 0;
    for (const [topic, { position }] of this.#topics) this.#socket.send(encode({ type: "subscribe", topic, position }));
    this.#sendPending();
    this.#options.phase?.("live");
  }

  #lost() {
    if (this.#closed) return;
    for (const [id, message] of this.#pending) {
      if (message.sent && this.#options.unconfirmed === "fail") {
        this.#pending.delete(id);
        message.reject(new Error("the connection was lost: the message may have been published or not"));
      }
      message.sent = false;
    }
    // The delay is random, so that not all clients of a server come back at once.
    this.#delay = Math.min(this.#delay * 2 || this.#options.firstDelay, this.#options.maxDelay);
    this.#timer = setTimeout(() => this.#connect(), this.#delay * (0.5 + Math.random() / 2));
    this.#options.phase?.("waiting");
  }

  #received(fields, data) {
    const found = this.#topics.get(fields.pattern ?? fields.topic);
    if (fields.type === "message" && found) {
      // A pattern has no position.
      if (!fields.pattern) found.position = fields.position;
      found.message({ ...fields, data });
    } else if (fields.type === "gap" && found) {
      if (fields.until && !fields.pattern) found.position = fields.until;
      found.gap(fields);
    } else if (fields.type === "subscribed" && found) {
      found.position ??= fields.position;
    } else if (fields.type === "refused" && found && !fields.id) {
      this.#topics.delete(fields.topic);
      found.refused(fields);
    } else if (this.#pending.has(fields.id)) {
      const { resolve, reject } = this.#pending.get(fields.id);
      this.#pending.delete(fields.id);
      if (fields.type === "published") resolve(fields.position);
      else reject(new Error(fields.reason));
    }
  }

  #sendPending() {
    for (const message of this.#pending.values()) {
      if (!message.sent) this.#socket.send(message.frame);
      message.sent = true;
    }
  }
}

function encode(fields, data) {
  const text = JSON.stringify(fields);
  return data === undefined ? text : new Blob([text, "\n", data]);
}

function decode(message) {
  if (typeof message === "string") return ((fields) => [fields, fields.text])(JSON.parse(message));
  const bytes = new Uint8Array(message);
  const end = bytes.indexOf(10);
  return [JSON.parse(new TextDecoder().decode(bytes.subarray(0, end))), bytes.subarray(end + 1)];
}
