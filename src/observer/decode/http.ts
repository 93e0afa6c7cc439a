/** HTTP events of the kernel as access-log records: the shape in which the proxy tells of the requests that it judges. */
import { Direction as DirectionCode, EventType, type HttpEvent, HttpEventKind, HttpFault, HttpTextLimit, httpEventCodec, IpFamily } from "#contracts/bpf"; // biome-ignore format: one door
import type { AccessLogRecord, NearestRule, PeerRecord, PolicyRef } from "#contracts/proxy";
import { formatAddress, type Verdict } from "#core/model";

/** Where in an event its type stands; the same in every kind of event. */
const TYPE_AT = 8;
/** Bytes of an event without its texts. */
export const httpEventHeadBytes = httpEventCodec.size - 304;
/** Requests whose answers are awaited, of all connections; beyond that the oldest is told without its request's texts. */
const AWAITED_MAX = 16_384;

/** In words, for people. */
const faults: Readonly<Record<keyof typeof HttpFault, string>> = {
  NONE: "",
  REQUEST_LINE: "the request line is not METHOD SP TARGET SP VERSION CRLF",
  TARGET: "the request target is no path, or holds what servers read differently",
  VERSION: "the version is neither HTTP/1.1 nor HTTP/1.0",
  HEADER: "a header line is malformed",
  HOST: "the Host header is missing, repeated or malformed",
  LENGTH: "the Content-Length is ambiguous",
  ENCODING: "the Transfer-Encoding is ambiguous",
  CONNECTION: "Connection names a header that framing hangs on",
  UPGRADE: "the upgrade is malformed",
  EXPECT: "the expectation is not 100-continue",
  CHUNK: "the chunked body is malformed",
  TOO_LARGE: "the head is larger than the kernel judges",
  TRUNCATED: "the connection was closed inside of a head",
  REWRITTEN: "a retransmission brought other bytes than were judged",
  URGENT: "urgent data: the server would read other bytes than were judged",
  RULES_CHANGED: "the rules changed while this connection could not be judged",
  NO_BUFFER: "what was judged had to be forgotten before the server acknowledged it",
};
const faultTexts: ReadonlyMap<number, string> = new Map(
  (Object.keys(faults) as (keyof typeof HttpFault)[]).map((name) => [HttpFault[name], faults[name]]),
);

/** What a request's answer is told with. */
interface Awaited {
  readonly method: string;
  readonly path: string;
  readonly host: string;
  readonly rules: readonly PolicyRef[];
}

/** A judgement of the kernel, whose reasons are asked for. */
export interface HttpJudgement {
  /** Number of the program that judged. */
  readonly program: number;
  /** The rule of its list that allowed the request, from 0; undefined: none did. */
  readonly rule: number | undefined;
  readonly request: AccessLogRecord;
  /** Whether the event held all of the request's target. */
  readonly isWhole: boolean;
}

/** Why a request was judged as it was; empty if that is not known any more. */
export interface HttpReasons {
  /** Where the rule that allowed it was written. */
  readonly rules: readonly PolicyRef[];
  /** Of a denial: the rule that came closest. */
  readonly nearest?: NearestRule;
}

/** What the decoder must be told. */
export interface HttpDecoderOptions {
  /** Nanoseconds to add to CLOCK_MONOTONIC for the time since 1970. */
  wallOffsetNs(): bigint;
  reasonsOf?(judgement: HttpJudgement): HttpReasons;
}

/** Makes records of HTTP events, in the order in which they come. */
export interface HttpDecoder {
  /** Undefined for events that tell of no request. Keeps nothing of the view's memory. */
  decode(view: DataView, offset: number, length: number): AccessLogRecord | undefined;
}

/** Whether the bytes are an HTTP event. */
export function isHttpEvent(view: DataView, offset: number, length: number): boolean {
  if (length < httpEventHeadBytes || offset < 0 || offset + length > view.byteLength) return false;
  return view.getUint8(offset + TYPE_AT) === EventType.HTTP;
}

/** Method, host and path; the path as far as the event has room for it. */
export function textsOf({ text, methodLength, hostLength, pathLength }: HttpEvent): readonly [string, string, string] {
  const all = Buffer.from(text).toString("latin1");
  const hostAt = methodLength;
  const pathAt = hostAt + hostLength;
  const end = pathAt + Math.min(pathLength, HttpTextLimit.PATH_MAX);
  return [all.slice(0, hostAt), all.slice(hostAt, pathAt), all.slice(pathAt, end)];
}

/** Creates a decoder; it remembers requests until their answers have come. */
export function createHttpDecoder({ wallOffsetNs, reasonsOf }: HttpDecoderOptions): HttpDecoder {
  const awaited = new Map<string, Awaited>();
  const whole = new Uint8Array(httpEventCodec.size);
  const wholeView = new DataView(whole.buffer);

  return {
    decode(view, offset, length) {
      if (!isHttpEvent(view, offset, length)) return undefined;
      whole.fill(0);
      whole.set(new Uint8Array(view.buffer, view.byteOffset + offset, Math.min(length, whole.length)));
      const event = httpEventCodec.read(wholeView);
      const family = event.family === IpFamily.IPV6 ? 6 : 4;
      const peer = (bytes: Uint8Array, port: number, rest: Pick<PeerRecord, "identity" | "endpoint">): PeerRecord => ({
        address: formatAddress({ family, bytes }),
        port,
        ...rest,
      });
      const [method, host, path] = textsOf(event);
      const key = `${event.connection}/${event.request}`;
      const base = {
        timeMs: Number(event.timeNs + wallOffsetNs()) / 1e6,
        connection: event.connection,
        source: peer(event.client, event.clientPort, { identity: event.clientIdentity, endpoint: event.clientEp }),
        destination: peer(event.server, event.serverPort, { identity: event.serverIdentity, endpoint: event.serverEp }),
        direction: event.direction === DirectionCode.EGRESS ? "egress" : "ingress",
        protocol: event.minorVersion === 0 ? "HTTP/1.0" : "HTTP/1.1",
        status: event.status,
        latencyNs: Number(event.latencyNs),
      } as const;
      const request: Awaited = {
        method,
        path,
        host,
        rules: [],
      };
      const told = (kind: AccessLogRecord["kind"], verdict: Verdict, of: Awaited, reason = ""): AccessLogRecord => ({
        kind,
        verdict,
        ...base,
        ...of,
        reason,
      });

      const withReasons = (record: AccessLogRecord): AccessLogRecord => ({
        ...record,
        ...reasonsOf?.({
          program: event.program,
          rule: event.rule === 0 ? undefined : event.rule - 1,
          request: record,
          isWhole: event.pathLength <= HttpTextLimit.PATH_MAX,
        }),
      });

      switch (event.kind) {
        case HttpEventKind.REQUEST: {
          const record = withReasons(told("request", "FORWARDED", request));
          awaited.set(key, { ...request, rules: record.rules });
          if (awaited.size > AWAITED_MAX) awaited.delete(awaited.keys().next().value!);
          return record;
        }
        case HttpEventKind.RESPONSE: {
          const asked = awaited.get(key) ?? request;
          awaited.delete(key);
          return told("response", "FORWARDED", asked);
        }
        case HttpEventKind.DENIED:
          return withReasons(told("denied", "DROPPED", request, "no HTTP rule allows it"));
        case HttpEventKind.MALFORMED:
          return told("malformed", "DROPPED", request, faultTexts.get(event.fault) ?? `fault ${event.fault}`);
        case HttpEventKind.FLIPPED:
          return told(
            "malformed",
            "DROPPED",
            request,
            "not HTTP/1: connections to this port go to the proxy from now on",
          );
        default:
          return undefined;
      }
    },
  };
}
