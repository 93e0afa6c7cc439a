/** `rules` of a port list: which protocol is judged, and what of it is allowed. */
import { parseGenericRules } from "./parse-custom.ts";
import { parseDnsMatch } from "./parse-dns-name.ts";
import { parseExtendedRules } from "./parse-extensions.ts";
import { parseHttpRules } from "./parse-http.ts";
import { parseKafkaRules } from "./parse-kafka.ts";
import type { PortScope } from "./parse-port.ts";
import { at, type Fields, isGiven, placed, type Reader } from "./reader.ts";
import type { L7Rules } from "./rule.ts";

const protocols = ["http", "dns", "kafka", "l7", "tsilium"] as const;

/** Reads `rules`; undefined if nothing is judged. */
export function parseL7(reader: Reader, fields: Fields, path: string, scope: PortScope): L7Rules | undefined {
  const value = reader.field(fields, path, "rules");
  if (value === undefined) return undefined;
  const place = at(path, "rules");
  const rules = reader.object(value, place, "l7");
  if (rules === undefined) return undefined;
  const given = protocols.filter((key) => isGiven(rules[key]));
  if (given.length > 1)
    reader.error(
      place,
      "conflict",
      "multiple L7 protocol rule types specified in single rule",
      `keep one of ${given.join(", ")}`,
    );
  if (given.length === 0 && Object.keys(rules).every((key) => protocols.some((known) => known === key)))
    reader.error(
      place,
      "missing-field",
      "rules is empty, expected http or dns",
      "add http or dns rules, or remove rules to allow the ports as they are",
    );
  const [protocol] = given;
  const read = protocol === undefined ? undefined : parseRules(reader, rules, place, protocol);
  if (read === undefined) return undefined;
  checkScope(reader, at(place, protocol!), read, scope);
  return read;
}

function parseRules(
  reader: Reader,
  rules: Fields,
  path: string,
  protocol: (typeof protocols)[number],
): L7Rules | undefined {
  if (protocol === "tsilium") return parseExtendedRules(reader, rules.tsilium, at(path, "tsilium"));
  const items = reader.list(rules, path, protocol);
  if (items === undefined) return undefined;
  const place = at(path, protocol);
  if (items.length === 0) {
    const what = protocol === "http" ? "HTTP rules" : `${protocol} rules`;
    reader.warn(
      place,
      "fails-open",
      `${protocol} is an empty list, which counts as no ${what}: every request on these ports is allowed`,
      `list the requests that are allowed; to let all pass, but through the proxy, write ${protocol}: [{${protocol === "dns" ? 'matchPattern: "*"' : ""}}]`,
    );
    return undefined;
  }
  switch (protocol) {
    case "http":
      return { protocol, rules: parseHttpRules(reader, items, place) };
    case "dns":
      return { protocol, rules: placed(items, place, (item, where) => parseDnsMatch(reader, item, where)) };
    case "kafka":
      return { protocol, rules: parseKafkaRules(reader, items, place) };
    case "l7":
      return parseGenericRules(reader, rules, path, items);
  }
}

function checkScope(reader: Reader, path: string, { protocol }: L7Rules, scope: PortScope): void {
  const refuse = (message: string, hint: string) => reader.error(path, "conflict", message, hint, "key");
  if (scope.direction === "ingress" && protocol === "dns")
    refuse("DNS rules are not allowed on ingress", "put them into egress of those who ask");
  else if (scope.ofNodes && scope.direction === "ingress")
    refuse("L7 policy is not supported on host ingress yet", "allow the port as it is");
  else if (scope.ofNodes && protocol !== "dns")
    refuse(
      `L7 protocol ${protocol.toUpperCase()} is not supported on host egress yet`,
      "allow the port as it is; only dns rules are possible",
    );
}
