/**
 * Guesses what a refused policy was meant to be. Most broken policies are good ones whose fields lost their places (a bad copy, a
 * wrong indent): each stray field has only one place where the schema allows it, so it is put there. A guess is offered only if
 * the engine accepts it.
 */
import { isPolicyKind, parsePolicy } from "#control/policy";

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const isScalar = (value: unknown): value is string | number | boolean =>
  ["string", "number", "boolean"].includes(typeof value);

const directions = ["ingress", "egress", "ingressDeny", "egressDeny"] as const;
const portFields = ["port", "endPort", "protocol"];
const httpFields = ["method", "path", "host", "headers", "headerMatches"];
/** Fields that a bad indent carries into a selector, and that belong to the rule around it or deeper inside. */
const strayFields = new Set(["toPorts", "ports", "rules", "http", "icmps", ...portFields, ...httpFields]);

/** The object as it was probably meant; undefined if there is no good guess. */
export function repairPolicy(object: unknown): Fields | undefined {
  if (!isFields(object) || !isPolicyKind(object.kind) || !object.kind.startsWith("Cilium")) return undefined;
  if (!isFields(object.spec)) return undefined;
  const guess = { ...object, spec: repairSpec(object.spec) };
  return parsePolicy(guess).kind === "accepted" ? guess : undefined;
}

function repairSpec(spec: Fields): Fields {
  const subject =
    spec.nodeSelector !== undefined
      ? {}
      : { endpointSelector: isFields(spec.endpointSelector) ? repairSelector(spec.endpointSelector).selector : {} };
  const rules = directions.flatMap((direction) =>
    Array.isArray(spec[direction])
      ? [[direction, spec[direction].map((rule) => (isFields(rule) ? repairRule(rule) : rule))] as const]
      : [],
  );
  return { ...subject, ...without(spec, ["endpointSelector"]), ...Object.fromEntries(rules) };
}

/** Labels beside matchLabels go under it; fields of the rule are handed back. */
function repairSelector(selector: Fields): { readonly selector: Fields; readonly strays: Fields } {
  const labels: Record<string, unknown> = isFields(selector.matchLabels) ? { ...selector.matchLabels } : {};
  const strays: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(selector)) {
    if (key === "matchLabels" || key === "matchExpressions") continue;
    if (strayFields.has(key)) strays[key] = value;
    else if (isScalar(value)) labels[key] = String(value);
  }
  const expressions = selector.matchExpressions;
  return {
    selector: {
      ...(Object.keys(labels).length > 0 ? { matchLabels: labels } : {}),
      ...(Array.isArray(expressions) ? { matchExpressions: expressions } : {}),
    },
    strays,
  };
}

function repairRule(rule: Fields): Fields {
  let strays: Fields = {};
  const peers: Record<string, unknown> = {};
  for (const field of ["fromEndpoints", "toEndpoints"]) {
    if (!Array.isArray(rule[field])) continue;
    peers[field] = rule[field].map((one) => {
      if (!isFields(one)) return one;
      const repaired = repairSelector(one);
      strays = { ...strays, ...repaired.strays };
      return repaired.selector;
    });
  }
  // The same fields also get lost beside the peers, one step less deep.
  const beside = Object.keys(rule).filter((key) => strayFields.has(key) && key !== "toPorts" && key !== "icmps");
  for (const key of beside) strays = { ...strays, [key]: rule[key] };
  const written = rule.toPorts ?? strays.toPorts;
  const { toPorts: _, icmps, ...forPorts } = strays;
  const toPorts = repairPorts(listOf(written), forPorts);
  return {
    ...without(rule, [...beside, "toPorts"]),
    ...peers,
    ...(toPorts.length > 0 ? { toPorts } : {}),
    ...(icmps === undefined ? {} : { icmps }),
  };
}

/** Items of toPorts whose ports, rules and requests lie beside one another instead of inside. */
function repairPorts(items: readonly unknown[], strays: Fields): readonly Fields[] {
  const whole: Record<string, unknown>[] = [];
  const loose: Fields[] = [];
  let extra = strays;
  for (const item of items) {
    if (!isFields(item)) continue;
    if (Array.isArray(item.ports)) {
      whole.push(without(item, [...portFields, "http", ...httpFields]));
      extra = { ...extra, ...pick(item, ["protocol", "http", ...httpFields]) };
      continue;
    }
    if (item.port !== undefined) loose.push(pick(item, portFields));
    extra = { ...extra, ...pick(item, ["rules", "http", ...httpFields]) };
  }
  if (extra.port !== undefined) loose.push(pick(extra, ["port", "endPort"]));
  if (Array.isArray(extra.ports)) loose.push(...extra.ports.filter(isFields));
  if (loose.length > 0) whole.push({ ports: loose });
  for (const item of whole) {
    item.ports = listOf(item.ports).map((port) => {
      if (!isFields(port)) return port;
      const protocol = port.protocol ?? extra.protocol;
      const number = port.port === undefined ? {} : { port: String(port.port) };
      return { ...port, ...number, ...(protocol === undefined ? {} : { protocol }) };
    });
  }
  const http = requestsOf(extra);
  if (http !== undefined) for (const item of whole) if (!isFields(item.rules)) item.rules = { http };
  return whole;
}

/** HTTP rules out of `rules`, `http` and loose fields such as `path`; undefined if there are none. */
function requestsOf(strays: Fields): readonly unknown[] | undefined {
  const written = listOf((isFields(strays.rules) ? strays.rules.http : undefined) ?? strays.http);
  const fields = pick(strays, httpFields);
  if (Object.keys(fields).length === 0) return written.length > 0 ? written : undefined;
  if (written.length === 0) return [fields];
  // A loose field belongs to the item it followed: the last one.
  const last = written.at(-1);
  return [...written.slice(0, -1), isFields(last) ? { ...last, ...fields } : fields];
}

function pick(fields: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(
    names.filter((name) => fields[name] !== undefined && fields[name] !== null).map((name) => [name, fields[name]]),
  );
}

function without(fields: Fields, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([name, value]) => !names.includes(name) && value !== null));
}
