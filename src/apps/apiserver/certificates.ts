/** The server's own certificate authority and certificate: X.509 v3 over P-256, written as DER by hand (RFC 5280). */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import { hostname, networkInterfaces } from "node:os";
import { type IpAddress, parseAddress } from "#core/model";

/** A certificate and its key, both PEM. */
export interface KeyedCertificate {
  readonly certificate: string;
  readonly key: string;
}

const dayMs = 86_400_000;
const authorityLifeMs = 3650 * dayMs;
/** The server renews its certificate long before: see `renewAfterMs`. */
const serverLifeMs = 365 * dayMs;
/** Clocks of clients may be behind. */
const clockSkewMs = dayMs;
/** Age at which a running server makes itself a new certificate. */
export const renewAfterMs = 200 * dayMs;

// DER: tag, length, content.

function tlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  if (content.length < 128) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  const bytes = content.length < 256 ? [0x81, content.length] : [0x82, content.length >> 8, content.length & 255];
  return Buffer.concat([Buffer.from([tag, ...bytes]), content]);
}

const sequence = (...parts: readonly Uint8Array[]) => tlv(0x30, ...parts);
const set = (...parts: readonly Uint8Array[]) => tlv(0x31, ...parts);
const octets = (content: Uint8Array) => tlv(0x04, content);
const bits = (content: Uint8Array, unused = 0) => tlv(0x03, Buffer.from([unused]), content);
const utf8 = (text: string) => tlv(0x0c, Buffer.from(text, "utf8"));
const yes = tlv(0x01, Buffer.from([0xff]));
/** Explicit tag n around its content. */
const tagged = (n: number, content: Uint8Array) => tlv(0xa0 | n, content);

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const base128 = (value: number): number[] => {
    const out = [value & 127];
    for (let left = value >>> 7; left > 0; left >>>= 7) out.unshift((left & 127) | 128);
    return out;
  };
  return tlv(0x06, Buffer.from([40 * first + second, ...rest.flatMap(base128)]));
}

/** UTCTime until 2049, GeneralizedTime after (RFC 5280, 4.1.2.5). */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
  return digits < "2050" ? tlv(0x17, Buffer.from(digits.slice(2))) : tlv(0x18, Buffer.from(digits));
}

const extension = (id: string, critical: boolean, value: Uint8Array) =>
  sequence(oid(id), ...(critical ? [yes] : []), octets(value));
const commonName = (text: string) => sequence(set(sequence(oid("2.5.4.3"), utf8(text))));
const ecdsaWithSha256 = sequence(oid("1.2.840.10045.4.3.2"));

/** Identifier of a key: SHA-1 of the public key's bits, as RFC 5280 4.2.1.2 suggests. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  const info = publicKey.export({ type: "spki", format: "der" });
  // The bits of an uncompressed P-256 point are the last 65 bytes of its SubjectPublicKeyInfo.
  return createHash("sha1").update(info.subarray(-65)).digest();
}

function issue(options: {
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly issuer: string;
  readonly issuerKey: KeyObject;
  readonly nowMs: number;
  readonly lifeMs: number;
  readonly extensions: readonly Uint8Array[];
}): string {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40; // positive, and never with a leading zero byte
  const body = sequence(
    tagged(0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, serial),
    ecdsaWithSha256,
    commonName(options.issuer),
    sequence(time(options.nowMs - clockSkewMs), time(options.nowMs + options.lifeMs)),
    commonName(options.subject),
    options.publicKey.export({ type: "spki", format: "der" }),
    tagged(
      3,
      sequence(
        ...options.extensions,
        extension("2.5.29.14", false, octets(keyIdentifier(options.publicKey))),
        extension("2.5.29.35", false, sequence(tlv(0x80, keyIdentifier(createPublicKey(options.issuerKey))))),
      ),
    ),
  );
  const certificate = sequence(body, ecdsaWithSha256, bits(sign("sha256", body, options.issuerKey)));
  const base64 = certificate.toString("base64").replace(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
}

const newKey = () => generateKeyPairSync("ec", { namedCurve: "P-256" });
const toPem = (key: KeyObject) => key.export({ type: "pkcs8", format: "pem" }) as string;
const authorityName = "tsilium-apiserver-ca";

/** A new certificate authority, valid for ten years; it may only sign certificates of servers and clients, no further authorities. */
export function createAuthority(nowMs: number): KeyedCertificate {
  const { privateKey, publicKey } = newKey();
  const certificate = issue({
    subject: authorityName,
    publicKey,
    issuer: authorityName,
    issuerKey: privateKey,
    nowMs,
    lifeMs: authorityLifeMs,
    extensions: [
      extension("2.5.29.19", true, sequence(yes, tlv(0x02, Buffer.from([0])))), // CA, path length 0
      extension("2.5.29.15", true, bits(Buffer.from([0x06]), 1)), // keyCertSign, cRLSign
    ],
  });
  return { certificate, key: toPem(privateKey) };
}

/** A certificate for the server under the given names and addresses, signed by the authority. */
export function createServerCertificate(
  authority: KeyedCertificate,
  names: readonly string[],
  nowMs: number,
): KeyedCertificate {
  const { privateKey, publicKey } = newKey();
  const alternatives = names.map((name) => {
    const address = parseAddress(name);
    return address === undefined ? tlv(0x82, Buffer.from(name, "latin1")) : tlv(0x87, addressBytes(address));
  });
  const certificate = issue({
    subject: "tsilium-apiserver",
    publicKey,
    issuer: authorityName,
    issuerKey: createPrivateKey(authority.key),
    nowMs,
    lifeMs: serverLifeMs,
    extensions: [
      extension("2.5.29.19", true, sequence()),
      extension("2.5.29.15", true, bits(Buffer.from([0x80]), 7)), // digitalSignature
      extension("2.5.29.37", false, sequence(oid("1.3.6.1.5.5.7.3.1"))), // serverAuth
      extension("2.5.29.17", false, sequence(...alternatives)),
    ],
  });
  return { certificate, key: toPem(privateKey) };
}

const addressBytes = ({ family, bytes }: IpAddress) => bytes.subarray(0, family === 4 ? 4 : 16);

/** Names under which a server that listens on `address` is reached. */
export function serverNames(address: string): string[] {
  const everywhere = address === "0.0.0.0" || address === "::";
  const local = everywhere
    ? Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map((one) => one.address.replace(/%.*/, "")))
    : [address];
  const service = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
  ];
  const own = /^[A-Za-z0-9.-]+$/.test(hostname()) ? [hostname()] : [];
  return [...new Set(["localhost", "127.0.0.1", "::1", ...own, ...service, ...local])];
}
