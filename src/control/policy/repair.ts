/** Proposes what the author of a broken policy probably meant. Only proposes: the result is shown, never applied by itself. */

import type { Problem } from "#contracts/manifest";
import { parseAddress } from "#core/model";
import { nearestField, type ShapeName, shapes } from "./fields.ts";
import { isPolicyKind, parsePolicy } from "./parse.ts";
import { at, type ParseOptions } from "./reader.ts";
import { formatYaml } from "./yaml.ts";

/** A repaired policy. */
export interface Repair {
  readonly object: object;
  readonly yaml: string;
  /** What was changed, in the order of the object. `path` as in the broken object. */
  readonly changes: readonly { readonly path: string; readonly what: string }[];
  /** Warnings and remarks about the repaired policy: what its author should know before applying it. */
  readonly problems: readonly Problem[];
}

type Json = Record<string, unknown>;

/**
 * Repairs what is misplaced, misspelt or unquoted in a CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy. Undefined if
 * nothing is wrong, or if what is wrong can't be guessed: the result is a valid policy.
 */
export function repairPolicy(object: unknown, options: ParseOptions = {}): Repair | undefined {
  if (!isMap(object) || !isCilium(object.kind) || parsePolicy(object, options).kind === "accepted") return undefined;
  const copy = structuredClone(object) as Json;
  const workshop = new Workshop();
  workshop.object(copy);
  if (workshop.changes.length === 0) return undefined;
  const parsed = parsePolicy(copy, options);
  if (parsed.kind === "refused") return undefined;
  return { object: copy, yaml: formatYaml(copy), changes: workshop.changes, problems: parsed.problems };
}

const portFields = ["port", "endPort", "protocol"];
const requestFields = ["method", "path", "host", "headers", "headerMatches"];
const strayFields = ["ports", "rules", "http", ...portFields, ...requestFields];

class Workshop {
  readonly changes: { path: string; what: string }[] = [];

  object(object: Json): void {
    this.#rename(object, "", "object");
    if (isMap(object.metadata)) this.#rename(object.metadata, "metadata", "metadata");
    if (isMap(object.spec)) object.spec = this.#spec(object.spec, "spec");
    for (const [i, spec] of list(object.specs).entries())
      if (isMap(spec)) (object.specs as unknown[])[i] = this.#spec(spec, `specs[${i}]`);
  }

  #note(path: string, what: string): void {
    this.changes.push({ path, what });
  }

  #spec(spec: Json, path: string): Json {
    this.#rename(spec, path, "spec");
    for (const section of ["ingress", "egress", "ingressDeny", "egressDeny"] as const) {
      if (isMap(spec[section])) {
        spec[section] = [spec[section]];
        this.#note(at(path, section), `${section} is a list now`);
      }
      for (const [i, item] of list(spec[section]).entries())
        if (isMap(item)) this.#item(item, `${at(path, section)}[${i}]`, section);
    }
    if (isMap(spec.endpointSelector)) this.#selector(spec.endpointSelector, at(path, "endpointSelector"));
    else if (
      spec.nodeSelector === undefined &&
      (spec.endpointSelector === undefined || spec.endpointSelector === null)
    ) {
      this.#note(
        path,
        "endpointSelector: {} added, which selects every endpoint of the policy's scope; narrow it if less is meant",
      );
      const { endpointSelector: _, ...others } = spec;
      return { endpointSelector: {}, ...others };
    }
    return spec;
  }

  #item(item: Json, path: string, section: "ingress" | "egress" | "ingressDeny" | "egressDeny"): void {
    const side = section.startsWith("ingress") ? "from" : "to";
    this.#rename(item, path, section);
    const endpoints = `${side}Endpoints`;
    const lifted = new Set<string>();
    if (isMap(item[endpoints])) {
      item[endpoints] = [item[endpoints]];
      this.#note(at(path, endpoints), `${endpoints} is a list now`);
    }
    for (const [i, selector] of list(item[endpoints]).entries()) {
      if (!isMap(selector)) continue;
      const place = `${at(path, endpoints)}[${i}]`;
      for (const key of Object.keys(selector)) {
        const isField = Object.hasOwn(shapes[section].fields, key) || strayFields.includes(key);
        if (!isField || Object.hasOwn(item, key)) continue;
        item[key] = selector[key];
        delete selector[key];
        lifted.add(key);
        this.#note(
          at(place, key),
          `${key} moved out of the selector, to ${strayFields.includes(key) ? "toPorts" : path}`,
        );
      }
      this.#selector(selector, place);
    }
    for (const key of [`${side}CIDR`]) this.#cidrs(item, path, key);
    this.#ports(item, path, lifted);
  }

  /** Labels beside matchLabels go into it; values become strings. */
  #selector(selector: Json, path: string): void {
    this.#rename(selector, path, "selector");
    const labels: Json = isMap(selector.matchLabels) ? selector.matchLabels : {};
    for (const [key, value] of Object.entries(labels))
      labels[key] = this.#text(value, at(at(path, "matchLabels"), key));
    for (const [key, value] of Object.entries(selector)) {
      if (Object.hasOwn(shapes.selector.fields, key) || !isScalar(value)) continue;
      labels[key] = String(value);
      delete selector[key];
      this.#note(at(path, key), "moved under matchLabels");
    }
    if (Object.keys(labels).length > 0) selector.matchLabels = labels;
    else if (selector.matchLabels === null) delete selector.matchLabels;
  }

  #cidrs(item: Json, path: string, key: string): void {
    const prefixes = list(item[key]);
    for (const [i, text] of prefixes.entries()) {
      const address = typeof text === "string" ? parseAddress(text) : undefined;
      if (address === undefined) continue;
      prefixes[i] = `${text}/${address.family === 4 ? 32 : 128}`;
      this.#note(`${at(path, key)}[${i}]`, `an address alone is written ${prefixes[i]}`);
    }
  }

  /** Puts ports, protocol, rules and requests that lie about in an item where they belong; `lifted` ones have been noted. */
  #ports(item: Json, path: string, lifted: ReadonlySet<string>): void {
    const stray: Json = {};
    for (const key of strayFields) {
      if (!Object.hasOwn(item, key)) continue;
      if (item[key] !== null) stray[key] = item[key];
      delete item[key];
      if (!lifted.has(key)) this.#note(at(path, key), "moved into toPorts");
    }
    const place = at(path, "toPorts");
    const lists: Json[] = [];
    for (const element of list(isMap(item.toPorts) ? [item.toPorts] : item.toPorts)) {
      if (!isMap(element)) continue;
      const flat = pick(element, portFields);
      this.#rename(element, `${place}[${lists.length}]`, "portRule");
      const ports = isMap(element.ports) ? [element.ports] : list(element.ports);
      if (Object.keys(flat).length > 0) ports.push(flat);
      const last = lists.at(-1);
      // "- ports:" with its list one level too high: the next element is what it was to hold.
      if (Object.keys(flat).length > 0 && last !== undefined && list(last.ports).length === 0) {
        last.ports = ports;
        this.#note(`${place}[${lists.length}]`, "joined with the item before, as an item of its ports");
      } else {
        if (Object.keys(flat).length > 0) this.#note(`${place}[${lists.length}]`, "port moved under ports");
        lists.push({ ...element, ports });
      }
    }
    if (lists.length === 0 && Object.keys(stray).length > 0) lists.push({ ports: [] });
    const [first] = lists;
    if (first !== undefined) this.#strays(first, stray);
    for (const [i, portList] of lists.entries()) this.#portList(portList, `${place}[${i}]`);
    if (lists.length > 0) item.toPorts = lists;
  }

  #strays(first: Json, stray: Json): void {
    const ports = [...list(first.ports), ...list(stray.ports)];
    if (stray.port !== undefined) ports.push(pick(stray, portFields));
    for (const port of ports)
      if (isMap(port) && port.protocol === undefined && stray.protocol !== undefined) port.protocol = stray.protocol;
    first.ports = ports;
    if (isMap(stray.rules) && !isMap(first.rules)) first.rules = stray.rules;
    if (stray.http !== undefined) first.http = stray.http;
    const request = pick(stray, requestFields);
    if (Object.keys(request).length > 0) {
      const http = list(first.http ?? (isMap(first.rules) ? first.rules.http : undefined));
      if (http.length === 0) http.push({});
      for (const rule of http) if (isMap(rule)) for (const [key, value] of Object.entries(request)) rule[key] ??= value;
      first.http = http;
    }
  }

  #portList(portList: Json, path: string): void {
    if (portList.http !== undefined) {
      portList.rules = { ...(isMap(portList.rules) ? portList.rules : {}), http: portList.http };
      delete portList.http;
      this.#note(at(path, "http"), "moved under rules");
    }
    if (portList.rules === null) delete portList.rules;
    for (const [i, port] of list(portList.ports).entries())
      if (isMap(port)) this.#port(port, `${at(path, "ports")}[${i}]`);
    const rules = isMap(portList.rules) ? portList.rules : {};
    this.#rename(rules, at(path, "rules"), "l7");
    for (const [i, rule] of list(rules.http).entries())
      if (isMap(rule)) this.#rename(rule, `${at(path, "rules.http")}[${i}]`, "http");
    // Requests can only be judged over TCP.
    if (list(rules.http).length > 0)
      for (const port of list(portList.ports)) if (isMap(port) && port.protocol === undefined) port.protocol = "TCP";
  }

  #port(port: Json, path: string): void {
    this.#rename(port, path, "port");
    const text = typeof port.port === "number" ? String(port.port) : port.port;
    if (text !== port.port) this.#note(at(path, "port"), "put into quotes");
    if (typeof text !== "string") return;
    port.port = text;
    const range = /^(\d+)\s*[-:]\s*(\d+)$/.exec(text);
    const withProtocol = /^(\d+)\s*[/ ]\s*(tcp|udp|sctp)$/i.exec(text);
    if (range && port.endPort === undefined) {
      port.port = range[1];
      port.endPort = Number(range[2]);
      this.#note(at(path, "port"), "the range is written with endPort");
    } else if (withProtocol && port.protocol === undefined) {
      port.port = withProtocol[1];
      port.protocol = withProtocol[2]!.toUpperCase();
      this.#note(at(path, "port"), "the protocol has a field of its own");
    }
    if (typeof port.endPort === "string" && /^\d+$/.test(port.endPort)) {
      port.endPort = Number(port.endPort);
      this.#note(at(path, "endPort"), "quotes removed");
    }
  }

  /** Misspelt keys get their right names, at their place in the order. */
  #rename(fields: Json, path: string, name: ShapeName): void {
    const of = shapes[name];
    const wrong = Object.keys(fields).filter(
      (key) => !Object.hasOwn(of.fields, key) && !(name === "selector" && isScalar(fields[key])),
    );
    for (const key of wrong) {
      const right = nearestField(key, of);
      if (right === undefined || Object.hasOwn(fields, right)) continue;
      const entries = Object.entries(fields).map(([own, value]) => [own === key ? right : own, value] as const);
      for (const own of Object.keys(fields)) delete fields[own];
      Object.assign(fields, Object.fromEntries(entries));
      this.#note(at(path, key), `renamed to ${right}`);
    }
  }

  #text(value: unknown, path: string): unknown {
    if (typeof value !== "number" && typeof value !== "boolean") return value;
    this.#note(path, "put into quotes");
    return String(value);
  }
}

/** Only Cilium's own language has slips that can be mended without guessing. */
function isCilium(kind: unknown): boolean {
  return !isPolicyKind(kind) || kind.startsWith("Cilium");
}

function isMap(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isScalar(value: unknown): boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function pick(fields: Json, keys: readonly string[]): Json {
  const out: Json = {};
  for (const key of keys) {
    if (fields[key] === undefined || fields[key] === null) continue;
    out[key] = fields[key];
    delete fields[key];
  }
  return out;
}
