/** What is asked of TLS on a port, the Secrets it names, and the listener that connections are handed to. */
import type { SecretRef, TlsContext, TlsRules } from "#contracts/proxy";
import type { Direction } from "#core/model";
import { nearest } from "./fields.ts";
import { parseServerName } from "./parse-dns-name.ts";
import { at, type Fields, isGiven, type Reader, show } from "./reader.ts";
import type { ListenerRef } from "./rule.ts";

/** Reads serverNames, terminatingTLS and originatingTLS; undefined if none is given. */
export function parseTls(reader: Reader, fields: Fields, path: string, hasL7: boolean): TlsRules | undefined {
  const serverNames = parseServerNames(reader, fields, path);
  const terminating = parseContext(reader, fields, path, "terminatingTLS");
  const originating = parseContext(reader, fields, path, "originatingTLS");
  if (serverNames !== undefined && hasL7 && !isGiven(fields.terminatingTLS))
    reader.error(
      at(path, "serverNames"),
      "conflict",
      "ServerNames are not allowed with L7 rules without TLS termination",
      "add terminatingTLS, so that what is inside can be judged, or remove rules",
      "key",
    );
  if (serverNames === undefined && terminating === undefined && originating === undefined) return undefined;
  return {
    ...(serverNames === undefined ? {} : { serverNames }),
    ...(terminating === undefined ? {} : { terminating }),
    ...(originating === undefined ? {} : { originating }),
  };
}

/** An empty list is the same as none. */
function parseServerNames(reader: Reader, fields: Fields, path: string): string[] | undefined {
  const items = reader.list(fields, path, "serverNames") ?? [];
  const names = items.map((item, i) => parseServerName(reader, item, `${at(path, "serverNames")}[${i}]`));
  return items.length === 0 ? undefined : [...new Set(names.filter((name) => name !== undefined))];
}

function parseContext(
  reader: Reader,
  fields: Fields,
  path: string,
  key: "terminatingTLS" | "originatingTLS",
): TlsContext | undefined {
  const value = reader.field(fields, path, key);
  if (value === undefined) return undefined;
  const place = at(path, key);
  const context = reader.object(value, place, "tls");
  if (context === undefined) return undefined;
  if (!isGiven(context.secret))
    reader.error(place, "missing-field", "secret is missing", "add secret: {namespace: ..., name: ...}");
  const secret = isGiven(context.secret) ? parseSecret(reader, context.secret, at(place, "secret")) : undefined;
  const item = (name: string) => reader.string(context, place, name) || undefined;
  const trustedCa = item("trustedCA");
  const certificate = item("certificate");
  const privateKey = item("privateKey");
  if (secret === undefined) return undefined;
  return {
    secret,
    ...(trustedCa === undefined ? {} : { trustedCa }),
    ...(certificate === undefined ? {} : { certificate }),
    ...(privateKey === undefined ? {} : { privateKey }),
  };
}

/** `{namespace, name}`; without a namespace the one called default. */
export function parseSecret(reader: Reader, value: unknown, path: string): SecretRef | undefined {
  const fields = reader.object(value, path, "secret");
  if (fields === undefined) return undefined;
  const namespace = reader.string(fields, path, "namespace") || "default";
  const name = reader.string(fields, path, "name");
  if (name) return { namespace, name };
  if (!isGiven(fields.name) || name === "") reader.error(path, "missing-field", "Secret name missing", "add name: ...");
  return undefined;
}

const listenerKinds = ["CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"] as const;

/** Reads `listener`. */
export function parseListener(
  reader: Reader,
  fields: Fields,
  path: string,
  direction: Direction,
  hasL7: boolean,
): ListenerRef | undefined {
  const value = reader.field(fields, path, "listener");
  if (value === undefined) return undefined;
  const place = at(path, "listener");
  const listener = reader.object(value, place, "listener");
  if (listener === undefined) return undefined;
  const name = reader.string(listener, place, "name");
  const shown = name ?? "";
  if (direction === "ingress")
    reader.error(place, "conflict", `Listener is not allowed on ingress (${shown})`, "remove it", "key");
  if (hasL7)
    reader.error(place, "conflict", `Listener is not allowed with L7 rules (${shown})`, "keep one of the two", "key");
  if (!name && (!isGiven(listener.name) || name === ""))
    reader.error(place, "missing-field", "the listener has no name", "add name: ...");
  const config = parseEnvoyConfig(reader, listener, place);
  const priority = parsePriority(reader, listener, place);
  if (!name || config === undefined) return undefined;
  return { ...config, name, ...(priority === undefined ? {} : { priority }) };
}

function parseEnvoyConfig(
  reader: Reader,
  listener: Fields,
  path: string,
): Pick<ListenerRef, "kind" | "config"> | undefined {
  const place = at(path, "envoyConfig");
  const value = reader.field(listener, path, "envoyConfig");
  if (value === undefined) {
    reader.error(path, "missing-field", "envoyConfig is missing", "add envoyConfig: {name: ...}");
    return undefined;
  }
  const fields = reader.object(value, place, "envoyConfig");
  if (fields === undefined) return undefined;
  const written = reader.string(fields, place, "kind") || listenerKinds[0];
  const kind = listenerKinds.find((one) => one === written);
  if (kind === undefined) {
    const near = nearest(written, listenerKinds) ?? listenerKinds[0];
    reader.error(
      at(place, "kind"),
      "invalid-value",
      `found ${show(written)}, expected one of ${listenerKinds.join(", ")}`,
      `write ${near}`,
    );
  }
  const config = reader.string(fields, place, "name");
  if (!config && (!isGiven(fields.name) || config === ""))
    reader.error(place, "missing-field", "the envoyConfig has no name", "add name: ...");
  return kind !== undefined && config ? { kind, config } : undefined;
}

function parsePriority(reader: Reader, listener: Fields, path: string): number | undefined {
  const value = reader.field(listener, path, "priority");
  if (value === undefined || value === 0) return undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 100) return value;
  reader.error(at(path, "priority"), "invalid-value", `found ${show(value)}, expected a whole number from 1 to 100`);
  return undefined;
}
