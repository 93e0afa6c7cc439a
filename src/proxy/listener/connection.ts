/**
 * One client connection and, from its first permitted request on, the one server connection behind it. Moves bytes; what they
 * mean is decided in #proxy/http, whether they may pass in #proxy/policy.
 */
import type { OnReadOpts, Socket } from "node:net";
import { errorCode } from "#core/runtime";
import {
  BodyReader,
  HeadReader,
  parseRequestHead,
  parseResponseHead,
  type Refusal,
  type RequestHead,
  type ResponseHead,
  refusals,
} from "#proxy/http";
import type { ConnectionPolicy, Denial, Permit } from "#proxy/policy";
import type { ConnectionLog, LoggedRequest } from "./access-log.ts";
import { deniedText, formatAnswer } from "./answers.ts";
import { ByteRun } from "./byte-run.ts";
import type { ConnectionEnds } from "./ends.ts";
import type { ListenerLimits } from "./options.ts";
import { ReadBuffer } from "./read-buffer.ts";
import {
  draining,
  type Exchange,
  type Forwarded,
  idle,
  type RequestState,
  requestsClosed,
  type ServerState,
  serverBody,
  serverClosed,
  serverHead,
  serverLastBody,
  serverTunnel,
  serverUnopened,
} from "./state.ts";

/** What a connection knows of the listener it belongs to. */
export interface ConnectionHost {
  readonly limits: ListenerLimits;
  /** Monotonic, renewed every sweep: good enough for time-outs, and free. */
  readonly nowMs: number;
  readonly counters: { permittedTotal: number; deniedTotal: number; malformedTotal: number };
  readonly connectUpstream: (ends: ConnectionEnds, reads: OnReadOpts) => Socket;
  readonly onClosed: (connection: Connection) => void;
}

const unknownRequest: LoggedRequest = { method: "", target: "", host: "", minorVersion: 1 };

export class Connection {
  readonly #host: ConnectionHost;
  readonly #client: Socket;
  readonly #ends: ConnectionEnds;
  readonly #policy: ConnectionPolicy;
  readonly #log: ConnectionLog;

  #requests: RequestState = idle;
  readonly #requestReader = new HeadReader("request");
  #requestBody: BodyReader | undefined;
  readonly #toServer = new ByteRun();
  /** Client bytes that wait until the server has decided on an upgrade, or has answered enough. */
  #held: Buffer | undefined;
  #clientEnded = false;

  #server: ServerState = serverUnopened;
  #upstream: Socket | undefined;
  readonly #responseReader = new HeadReader("response");
  #responseBody: BodyReader | undefined;
  readonly #toClient = new ByteRun();
  readonly #exchanges: Exchange[] = [];

  /** A request went on whose body was refused half-way. */
  #bodyCut = false;
  readonly #reads = new ReadBuffer(
    (chunk) => this.#fromServer(chunk),
    () => this.#client.writableLength === 0,
  );
  #closing = false;
  #activeMs: number;

  constructor(
    host: ConnectionHost,
    client: Socket,
    ends: ConnectionEnds,
    policy: ConnectionPolicy,
    log: ConnectionLog,
  ) {
    this.#host = host;
    this.#client = client;
    this.#ends = ends;
    this.#policy = policy;
    this.#log = log;
    this.#activeMs = host.nowMs;
    client.on("data", (chunk: Buffer) => this.#fromClient(chunk));
    client.on("drain", () => {
      this.#upstream?.resume();
      this.#resumeClient();
    });
    client.on("end", () => this.#clientEnd());
    client.on("error", () => this.#destroy());
    client.on("close", () => this.#destroy());
  }

  /** The two states, for status reports: `requests/server`. */
  get stateName(): string {
    return `${this.#requests.kind}/${this.#server.kind}`;
  }

  /** Ends the connection once nothing is under way; for shutdown. */
  closeWhenIdle(): void {
    this.#closing = true;
    this.#advance();
  }

  /** Ends the connection now, by reset. */
  abort(): void {
    this.#destroy();
  }

  /** Looks at the clock; called by the listener's sweep. */
  check(): void {
    const { limits, nowMs } = this.#host;
    const requests = this.#requests;
    const server = this.#server;
    if (requests.kind === "lingering") {
      if (nowMs >= requests.untilMs) this.#destroy();
    } else if (server.kind === "connecting" && nowMs - server.sinceMs >= limits.connectTimeoutMs) {
      this.#serverFailed(504, `no answer from ${this.#serverName()} within ${limits.connectTimeoutMs} ms`);
    } else if (requests.kind === "head" && nowMs - requests.sinceMs >= limits.headTimeoutMs) {
      this.#answerAndClose(408, `the request's head was not complete within ${limits.headTimeoutMs} ms`);
    } else if (nowMs - this.#activeMs >= limits.idleTimeoutMs) {
      this.#destroy();
    } else if ((this.#exchanges.length > 0 || requests.kind === "tunnel") && this.#policy.revoked()) {
      // What is under way was permitted once; the policy in force no longer lets these two talk at all.
      this.#destroy();
    }
  }

  // ---- client -> server

  #fromClient(chunk: Buffer): void {
    this.#activeMs = this.#host.nowMs;
    if (this.#held !== undefined) {
      this.#held = Buffer.concat([this.#held, chunk]);
      return;
    }
    const end = chunk.length;
    let at = 0;
    while (at < end) {
      const state = this.#requests;
      switch (state.kind) {
        case "idle":
        case "head":
          if (this.#exchanges.length >= this.#host.limits.pipelinedRequests) {
            this.#hold(chunk, at);
            at = end;
          } else at = this.#readHead(chunk, at, end);
          break;
        case "body": {
          const body = this.#requestBody!;
          const stop = body.feed(chunk, at, end);
          if (body.refusal !== undefined) {
            this.#refuseBody(body.refusal, state.exchange);
            at = end;
            break;
          }
          this.#forward(state.exchange.permit, chunk, at, stop);
          at = stop;
          if (body.done) this.#requestDone(state.exchange.keepAlive);
          break;
        }
        case "discard": {
          const body = this.#requestBody!;
          const stop = body.feed(chunk, at, end);
          state.leftBytes -= stop - at;
          at = stop;
          if (body.refusal !== undefined || state.leftBytes < 0) this.#answerAndClose(0, "");
          else if (body.done) this.#requestDone(true);
          break;
        }
        case "switching":
          this.#hold(chunk, at);
          at = end;
          break;
        case "tunnel":
          this.#forward(state.permit, chunk, at, end);
          at = end;
          break;
        case "draining":
        case "lingering":
        case "closed":
          at = end;
          break;
      }
    }
    this.#flushToServer();
  }

  #readHead(chunk: Buffer, at: number, end: number): number {
    const reader = this.#requestReader;
    const stop = reader.feed(chunk, at, end);
    if (reader.refusal !== undefined) {
      this.#refuse(reader.refusal, unknownRequest);
      return end;
    }
    if (!reader.complete) {
      if (this.#requests.kind === "idle") this.#requests = { kind: "head", sinceMs: this.#host.nowMs };
      return stop;
    }
    const head = parseRequestHead(reader);
    if (typeof head === "string") {
      this.#refuse(head, {
        method: reader.bytes.toString("latin1", reader.offset, reader.offset + reader.methodEnd),
        target: reader.bytes.toString("latin1", reader.offset + reader.methodEnd + 1, reader.offset + reader.targetEnd),
        host: "",
        minorVersion: reader.minorVersion as 0 | 1,
      });
      return end;
    }
    const verdict = this.#policy.judge(head);
    if (verdict.kind === "permit") this.#permitted(head, verdict);
    else this.#denied(head, verdict);
    reader.reset();
    return stop;
  }

  #permitted(head: RequestHead, permit: Permit): void {
    const { method, target, host, minorVersion, upgrade, keepAlive, framing } = head;
    const sentAtMs = performance.now();
    const { rules, direction } = permit;
    const logged = this.#log.write(head, {
      kind: "request",
      verdict: "FORWARDED",
      direction,
      rules,
      status: 0,
      latencyNs: 0,
      reason: "",
    });
    const exchange: Forwarded = {
      kind: "forwarded",
      permit,
      method,
      target,
      host,
      minorVersion,
      upgrade,
      keepAlive,
      sentAtMs,
      logged,
    };
    this.#host.counters.permittedTotal++;
    this.#exchanges.push(exchange);
    if (upgrade !== undefined || method === "CONNECT") this.#requests = { kind: "switching", exchange };
    else if (framing.kind === "none") this.#requests = keepAlive ? idle : draining;
    else {
      this.#requestBody ??= new BodyReader();
      this.#requestBody.start(framing);
      this.#requests = { kind: "body", exchange };
    }
    const { bytes, offset, length } = this.#requestReader;
    this.#forward(permit, bytes, offset, offset + length);
  }

  #denied(head: RequestHead, denial: Denial): void {
    this.#host.counters.deniedTotal++;
    const status = denial.kind === "policy" ? 403 : 503;
    const { direction, rules, reason, nearest } = denial;
    this.#log.write(head, {
      kind: "denied",
      verdict: "DROPPED",
      direction,
      rules,
      status,
      latencyNs: 0,
      reason,
      nearest,
    });
    const { framing } = head;
    // With Expect it is the client's choice whether the body follows: where the next request starts is uncertain.
    const uncertain = head.expectsContinue && framing.kind !== "none";
    const tooLong = framing.kind === "length" && framing.lengthBytes > this.#host.limits.discardBytes;
    const close = !head.keepAlive || uncertain || tooLong;
    if (close) this.#requests = draining;
    else if (framing.kind === "none") this.#requests = idle;
    else {
      this.#requestBody ??= new BodyReader();
      this.#requestBody.start(framing);
      this.#requests = { kind: "discard", leftBytes: this.#host.limits.discardBytes };
    }
    const text = denial.kind === "policy" ? deniedText : denial.reason;
    const answer = { status, text, close, headOnly: head.method === "HEAD", minorVersion: head.minorVersion };
    this.#exchanges.push({ kind: "answer", answer });
    this.#advance();
  }

  /** Sends bytes of a permitted request to the server; opens the connection to it at the first. */
  #forward(_permit: Permit, bytes: Buffer, from: number, to: number): void {
    if (this.#upstream === undefined && !this.#openUpstream()) return;
    if (this.#server.kind !== "closed") this.#toServer.add(this.#upstream!, bytes, from, to);
  }

  #flushToServer(): void {
    const upstream = this.#upstream;
    if (upstream === undefined || this.#server.kind === "closed") return;
    this.#toServer.flush(upstream);
    if (upstream.writableNeedDrain) this.#client.pause();
  }

  #hold(chunk: Buffer, at: number): void {
    this.#held = chunk.subarray(at);
    this.#client.pause();
  }

  /** Goes on with what was held, if nothing stands in its way any more. */
  #release(): void {
    const blocked =
      this.#requests.kind === "switching" || this.#exchanges.length >= this.#host.limits.pipelinedRequests;
    if (this.#held === undefined || blocked) return;
    const held = this.#held;
    this.#held = undefined;
    this.#fromClient(held);
    if (this.#clientEnded && this.#held === undefined) this.#clientEnd();
    else this.#resumeClient();
  }

  /** Reads from the client again, unless something else still stands in the way. */
  #resumeClient(): void {
    if (this.#held === undefined && !this.#upstream?.writableNeedDrain) this.#client.resume();
  }

  #requestDone(keepAlive: boolean): void {
    this.#requests = keepAlive ? idle : draining;
    this.#advance();
  }

  #clientEnd(): void {
    this.#clientEnded = true;
    // Node tells of the end even while paused: what is held comes first.
    if (this.#held !== undefined) return;
    switch (this.#requests.kind) {
      case "lingering":
      case "closed":
        return;
      case "tunnel":
      case "switching":
        break;
      default:
        this.#requests = draining;
    }
    this.#flushToServer();
    if (this.#server.kind !== "closed") this.#upstream?.end();
    this.#advance();
  }

  // ---- server -> client

  #openUpstream(): boolean {
    let upstream: Socket;
    try {
      upstream = this.#host.connectUpstream(this.#ends, this.#reads);
    } catch (error) {
      this.#serverFailed(503, `no connection to ${this.#serverName()}: ${errorCode(error) ?? "failed"}`);
      return false;
    }
    this.#upstream = upstream;
    this.#server = { kind: "connecting", sinceMs: this.#host.nowMs };
    upstream.on("connect", () => {
      if (this.#server.kind === "connecting") this.#server = serverHead;
    });
    upstream.on("drain", () => this.#resumeClient());
    upstream.on("end", () => this.#serverEnd());
    upstream.on("error", (error) => {
      const refused = this.#server.kind === "connecting";
      const what = refused ? `no connection to ${this.#serverName()}` : `${this.#serverName()} broke the connection`;
      this.#serverFailed(refused ? 503 : 502, `${what}: ${errorCode(error) ?? "failed"}`);
    });
    return true;
  }

  #fromServer(chunk: Buffer): void {
    this.#activeMs = this.#host.nowMs;
    const end = chunk.length;
    let at = 0;
    while (at < end) {
      switch (this.#server.kind) {
        case "unopened":
        case "connecting":
        case "head":
          at = this.#readResponse(chunk, at, end);
          break;
        case "body": {
          const { keepAlive } = this.#server;
          const body = this.#responseBody!;
          const stop = body.feed(chunk, at, end);
          if (body.refusal !== undefined) {
            this.#destroy();
            return;
          }
          this.#toClient.add(this.#client, chunk, at, stop);
          at = stop;
          if (body.done) this.#responseDone(keepAlive);
          break;
        }
        case "tunnel":
          this.#toClient.add(this.#client, chunk, at, end);
          at = end;
          break;
        case "closed":
          return;
      }
    }
    this.#flushToClient();
  }

  #readResponse(chunk: Buffer, at: number, end: number): number {
    const exchange = this.#exchanges[0];
    if (exchange?.kind !== "forwarded") {
      // Bytes that answer no request can only confuse the client.
      this.#finish();
      return end;
    }
    this.#server = serverHead;
    const reader = this.#responseReader;
    const stop = reader.feed(chunk, at, end);
    if (reader.refusal === undefined && !reader.complete) return stop;
    const head = reader.refusal ?? parseResponseHead(reader, exchange);
    if (typeof head === "string") {
      this.#serverFailed(502, `${this.#serverName()} sent a response that cannot be relayed: ${refusals[head].text}`);
      return end;
    }
    // Interim responses came with HTTP/1.1; an older client would take one for the answer.
    if (!head.interim || exchange.minorVersion === 1)
      this.#toClient.add(this.#client, reader.bytes, reader.offset, reader.offset + reader.length);
    reader.reset();
    if (!head.interim) this.#answered(exchange, head);
    return stop;
  }

  #answered(exchange: Forwarded, head: ResponseHead): void {
    const latencyNs = Math.round((performance.now() - exchange.sentAtMs) * 1e6);
    this.#log.answer(exchange, head.status, latencyNs, "FORWARDED", "");
    if (head.switches) {
      this.#exchanges.shift();
      this.#server = serverTunnel;
      this.#requests = { kind: "tunnel", permit: exchange.permit };
      this.#release();
      return;
    }
    if (head.framing.kind === "none") {
      this.#responseDone(head.keepAlive);
      return;
    }
    this.#responseBody ??= new BodyReader();
    this.#responseBody.start(head.framing);
    this.#server = head.keepAlive ? serverBody : serverLastBody;
  }

  #responseDone(keepAlive: boolean): void {
    const exchange = this.#exchanges.shift();
    this.#server = serverHead;
    if (!keepAlive) {
      this.#finish();
      return;
    }
    // The server declined to switch protocols: it goes on in HTTP.
    if (this.#requests.kind === "switching" && this.#requests.exchange === exchange)
      this.#requests = exchange.keepAlive ? idle : draining;
    this.#advance();
  }

  #flushToClient(): void {
    if (this.#requests.kind === "closed") return;
    this.#toClient.flush(this.#client);
    if (this.#client.writableNeedDrain && this.#server.kind !== "closed") this.#upstream?.pause();
  }

  #serverEnd(): void {
    switch (this.#server.kind) {
      case "closed":
        return;
      case "tunnel":
        this.#flushToClient();
        this.#client.end();
        return;
      case "body":
        // The end that the client is waiting for; or a body cut short, which it will notice by its length.
        this.#finish();
        return;
      default:
        if (this.#exchanges.length === 0) this.#finish();
        else this.#serverFailed(502, `${this.#serverName()} closed the connection without an answer`);
    }
  }

  /** The server can't answer any more: says so to the client if that is still possible, else cuts it off. */
  #serverFailed(status: number, reason: string): void {
    if (this.#server.kind === "closed") return;
    const front = this.#exchanges[0];
    if (this.#server.kind === "tunnel" || this.#server.kind === "body") {
      this.#destroy();
      return;
    }
    this.#closeServer();
    if (front?.kind === "forwarded") {
      const latencyNs = Math.round((performance.now() - front.sentAtMs) * 1e6);
      this.#log.answer(front, status, latencyNs, "ERROR", reason);
      const { method, minorVersion } = front;
      this.#exchanges[0] = {
        kind: "answer",
        answer: { status, text: reason, close: true, headOnly: method === "HEAD", minorVersion },
      };
    }
    this.#requests = draining;
    this.#advance();
  }

  // ---- both

  /** Sends the answers of our own that are next in line; ends the connection when nothing more is to come. */
  #advance(): void {
    if (this.#requests.kind === "lingering" || this.#requests.kind === "closed") return;
    for (let front = this.#exchanges[0]; front?.kind === "answer"; front = this.#exchanges[0]) {
      this.#exchanges.shift();
      this.#toClient.flush(this.#client);
      // A client that asks on and on but reads no answer gets no further until it does.
      if (front.answer !== undefined && !this.#client.write(formatAnswer(front.answer))) this.#client.pause();
      if (front.answer === undefined || front.answer.close) {
        this.#finish();
        return;
      }
    }
    const over = this.#requests.kind === "draining" || (this.#closing && this.#requests.kind === "idle");
    if (this.#exchanges.length === 0 && over) this.#finish();
    else if (this.#held !== undefined) this.#release();
  }

  /** What came is no request with one meaning: answered behind what is due, and nothing more is read. */
  #refuse(refusal: Refusal, request: LoggedRequest): void {
    this.#host.counters.malformedTotal++;
    const { status, text } = refusals[refusal];
    const direction = this.#policy.destination.endpoint === 0 ? "egress" : "ingress";
    this.#log.write(request, {
      kind: "malformed",
      verdict: "DROPPED",
      direction,
      rules: [],
      status,
      latencyNs: 0,
      reason: text,
    });
    this.#answerAndClose(status, `Bad request: ${text}`);
  }

  /** A body turned out malformed after its head went on: the server must not take what it got for a whole request. */
  #refuseBody(refusal: Refusal, exchange: Forwarded): void {
    const at = this.#exchanges.indexOf(exchange);
    if (at === 0 && this.#server.kind === "body") {
      this.#refuse(refusal, exchange);
      this.#destroy();
      return;
    }
    this.#flushToServer();
    this.#bodyCut = true;
    if (at >= 0) this.#exchanges.splice(at, 1);
    if (at <= 0) this.#closeServer();
    this.#refuse(refusal, exchange);
  }

  /** Queues a last answer; status 0 = none, just the end. */
  #answerAndClose(status: number, text: string): void {
    this.#requests = draining;
    const answer =
      status === 0 ? undefined : ({ status, text, close: true, headOnly: false, minorVersion: 1 } as const);
    this.#exchanges.push({ kind: "answer", answer });
    this.#advance();
  }

  /** The orderly end: everything due has been written; the client may still be sending, and must not be reset while it reads. */
  #finish(): void {
    if (this.#requests.kind === "lingering" || this.#requests.kind === "closed") return;
    this.#toClient.flush(this.#client);
    this.#exchanges.length = 0;
    this.#held = undefined;
    this.#closeServer();
    this.#requests = { kind: "lingering", untilMs: this.#host.nowMs + this.#host.limits.lingerTimeoutMs };
    this.#client.end();
    if (!this.#clientEnded) this.#client.resume();
  }

  /** Ends the server side; by reset if the client's end was one, or the server could mistake a cut request for a complete one. */
  #closeServer(abrupt = false): void {
    const { kind } = this.#server;
    if (kind === "closed") return;
    this.#server = serverClosed;
    if (kind === "unopened") return;
    if (abrupt || this.#bodyCut || this.#requests.kind === "body" || kind === "connecting")
      this.#upstream!.resetAndDestroy();
    else this.#upstream!.destroy();
  }

  /** The end without ceremony: one side has gone, or must not go on. */
  #destroy(): void {
    if (this.#requests.kind === "closed") return;
    const complete = this.#exchanges.length === 0 && (this.#requests.kind === "idle" || this.#clientEnded);
    const clean = this.#requests.kind === "lingering" || complete;
    this.#closeServer(!clean);
    this.#requests = requestsClosed;
    this.#exchanges.length = 0;
    this.#held = undefined;
    if (clean) this.#client.destroy();
    else this.#client.resetAndDestroy();
    this.#host.onClosed(this);
  }

  #serverName(): string {
    const { address, port } = this.#ends.destination;
    return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  }
}
