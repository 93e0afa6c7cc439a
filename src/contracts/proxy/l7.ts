/**
 * What an application-layer rule asks of a request, protocol by protocol. All fields that are given must match; regular
 * expressions are RE2 and must match the whole value. `{}` matches everything that the protocol calls a request, with the
 * exceptions named. Fields as in Cilium's policies, where Cilium has the protocol.
 */

/** A Secret of the API, by name. */
export interface SecretRef {
  readonly namespace: string;
  readonly name: string;
}

/** A header that a request must carry. Names compare without case, values exactly. */
export interface HeaderMatch {
  readonly name: string;
  /** Absent, and no secret: the header must be there, whatever its value. */
  readonly value?: string;
  /** Where the value is taken from; counts before `value`. A secret that is not there and no `value`: never matches. */
  readonly secret?: SecretRef;
  /** What to do when it doesn't match, instead of failing the rule. Absent: it must match. */
  readonly mismatch?: "LOG" | "ADD" | "DELETE" | "REPLACE";
}

/** Requests per time from one source identity; what exceeds it is answered 429. */
export interface RateLimit {
  readonly requests: number;
  readonly perMs: number;
  /** Requests that may come at once; `requests` if absent. */
  readonly burst?: number;
}

/** A gRPC call. Regular expressions. */
export interface GrpcMatch {
  /** With its package: `helloworld.Greeter`. */
  readonly service?: string;
  readonly method?: string;
}

/** An HTTP request. Without a method every one but CONNECT matches. */
export interface HttpMatch {
  readonly method?: string;
  /** Against the request target, query included. */
  readonly path?: string;
  /** Against the Host header or `:authority`, with the port if the client sends one. */
  readonly host?: string;
  readonly headers?: readonly HeaderMatch[];
  /** Only gRPC calls, and of these the ones named. */
  readonly grpc?: GrpcMatch;
  readonly rateLimit?: RateLimit;
}

/** A name as people write it, or a pattern: `*` within a label, `**.` in front for any number of labels. Lower case, with a trailing dot. */
export type DnsMatch = { readonly matchName: string } | { readonly matchPattern: string };

/** A request to a Kafka broker, as Cilium had it up to 1.19. */
export interface KafkaMatch {
  readonly role?: "produce" | "consume";
  readonly apiKey?: string;
  readonly apiVersion?: string;
  readonly clientId?: string;
  readonly topic?: string;
}

/** A command on an FTP control connection. */
export interface FtpMatch {
  /** Upper case: `RETR`. */
  readonly command?: string;
  /** Regular expression for the absolute path that the command names or, without an argument, works in. */
  readonly path?: string;
  /** Regular expression for the name under which the client has logged in, or asks to. */
  readonly user?: string;
}

/** A command of an SMTP session, or what a mail transaction must be like. */
export interface SmtpMatch {
  /** Upper case: `VRFY`. */
  readonly command?: string;
  /** Regular expression for the sender's mailbox, domain in lower case; the empty sender of bounces is the empty text. */
  readonly from?: string;
  /** Regular expression for a recipient's mailbox, domain in lower case. */
  readonly to?: string;
  /** Largest message. */
  readonly maxSizeBytes?: number;
}

/** A frame of a protocol that a parser from outside understands: its keys mean what the parser says. */
export type CustomMatch = Readonly<Record<string, string>>;

/** A list of rules of one protocol, each with `Extra` about where it comes from. Never empty; one match is enough. */
export type L7RulesOf<Extra> =
  | { readonly protocol: "http"; readonly rules: readonly (HttpMatch & Extra)[] }
  | { readonly protocol: "dns"; readonly rules: readonly (DnsMatch & Extra)[] }
  | { readonly protocol: "kafka"; readonly rules: readonly (KafkaMatch & Extra)[] }
  | { readonly protocol: "ftp"; readonly rules: readonly (FtpMatch & Extra)[] }
  | { readonly protocol: "smtp"; readonly rules: readonly (SmtpMatch & Extra)[] }
  | {
      readonly protocol: "custom";
      /** Name of the parser. */
      readonly parser: string;
      readonly rules: readonly ({ readonly match: CustomMatch } & Extra)[];
    };

/** Application protocols that rules can speak of. */
export type L7Protocol = L7RulesOf<unknown>["protocol"];

/** Keys for a TLS session: certificate and key to present, or authorities to trust. */
export interface TlsContext {
  readonly secret: SecretRef;
  /** Names of the secret's items; absent: `ca.crt`, `tls.crt`, `tls.key`. */
  readonly trustedCa?: string;
  readonly certificate?: string;
  readonly privateKey?: string;
}

/** What is asked of TLS on a port. */
export interface TlsRules {
  /** Names that a client may ask for (SNI); `*` within a label, `**.` in front. Absent: any, also plain text. */
  readonly serverNames?: readonly string[];
  /** Answer the client with these keys, so that what is inside can be judged. */
  readonly terminating?: TlsContext;
  /** Speak TLS towards the server. */
  readonly originating?: TlsContext;
}
