/** Prefixes as peers, and the CIDR groups that stand for prefixes. */
import { type Prefix, parseAddress, parsePrefix, prefixContains } from "#core/model";
import { parseSelector } from "./parse-selector.ts";
import { at, type Fields, type Reader, show } from "./reader.ts";
import type { GroupPeer, Peer } from "./rule.ts";
import { createSelector } from "./selector.ts";

/** Whether an item of a CIDR set names a CIDR group. */
export function isGroupRule(item: unknown): boolean {
  const { cidr, cidrGroupRef, cidrGroupSelector } = (item ?? {}) as Fields;
  return cidr === undefined && (cidrGroupRef !== undefined || cidrGroupSelector !== undefined);
}

/** `{cidrGroupRef | cidrGroupSelector, except}`. */
export function parseGroupRule(reader: Reader, value: unknown, path: string): GroupPeer | undefined {
  const fields = reader.object(value, path, "cidrRule");
  if (fields === undefined) return undefined;
  const except: Prefix[] = [];
  for (const [i, item] of (reader.list(fields, path, "except") ?? []).entries()) {
    const prefix = readPrefix(reader, item, `${at(path, "except")}[${i}]`);
    if (prefix !== undefined) except.push(prefix);
  }
  const selector = reader.field(fields, path, "cidrGroupSelector");
  const name = reader.string(fields, path, "cidrGroupRef");
  if (selector !== undefined && name !== undefined)
    reader.error(
      path,
      "conflict",
      "more than one of cidr, cidrGroupRef, or cidrGroupSelector may not be set",
      "keep cidrGroupRef",
    );
  if (name !== undefined) return { group: name, except, path };
  const place = at(path, "cidrGroupSelector");
  const requirements = parseSelector(reader, selector, place, (key) => ({ source: "any", key }));
  return requirements && { group: createSelector(requirements), except, path };
}

/** A prefix as a peer. */
export function parseCidr(reader: Reader, value: unknown, path: string): Peer | undefined {
  const prefix = readPrefix(reader, value, path);
  return prefix === undefined ? undefined : { kind: "cidr", prefix, except: [], path };
}

/** `{cidr, except}`, as Cilium's sets and Kubernetes' ipBlock write it. */
export function parseCidrRule(
  reader: Reader,
  value: unknown,
  path: string,
  shape: "cidrRule" | "ipBlock" = "cidrRule",
): Peer | undefined {
  const fields = reader.object(value, path, shape);
  if (fields === undefined) return undefined;
  const groups = ["cidrGroupRef", "cidrGroupSelector"].filter(
    (key) => shape === "cidrRule" && fields[key] !== undefined,
  );
  if (fields.cidr !== undefined && groups.length > 0)
    reader.error(
      path,
      "conflict",
      "more than one of cidr, cidrGroupRef, or cidrGroupSelector may not be set",
      "keep cidr",
    );
  if (fields.cidr === undefined || fields.cidr === null) {
    reader.error(
      path,
      "missing-field",
      "one of cidr, cidrGroupRef, or cidrGroupSelector is required",
      "add cidr: 10.0.0.0/8",
    );
    return undefined;
  }
  const prefix = readPrefix(reader, fields.cidr, at(path, "cidr"));
  const except: Prefix[] = [];
  for (const [i, item] of (reader.list(fields, path, "except") ?? []).entries()) {
    const place = `${at(path, "except")}[${i}]`;
    const excluded = readPrefix(reader, item, place);
    if (excluded === undefined || prefix === undefined) continue;
    if (prefixContains(prefix, excluded)) except.push(excluded);
    else
      reader.error(
        place,
        "invalid-value",
        `allow CIDR prefix ${String(fields.cidr)} does not contain exclude CIDR prefix ${String(item)}`,
        "an exception must lie inside its cidr; remove it or correct one of the two",
      );
  }
  return prefix === undefined ? undefined : { kind: "cidr", prefix, except, path };
}

function readPrefix(reader: Reader, value: unknown, path: string): Prefix | undefined {
  if (typeof value !== "string") {
    reader.notString(value, path);
    return undefined;
  }
  const prefix = parsePrefix(value);
  if (prefix !== undefined) return prefix;
  if (value === "") {
    reader.error(path, "invalid-value", "IP must be specified", "write address/length, e.g. 10.0.0.0/8");
    return undefined;
  }
  const address = parseAddress(value);
  const hint =
    address === undefined
      ? "write address/length, e.g. 10.0.0.0/8 or fd00::/64"
      : `one address alone is ${value}/${address.family === 4 ? 32 : 128}`;
  reader.error(path, "invalid-value", `unable to parse CIDR: ${show(value)} is not a prefix`, hint);
  return undefined;
}
