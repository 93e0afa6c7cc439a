/** Services as peers: `toServices`. */
import { parseSelector } from "./parse-selector.ts";
import { at, isGiven, type Reader } from "./reader.ts";
import type { ServicePeer } from "./rule.ts";
import { createSelector } from "./selector.ts";

/** `{k8sService | k8sServiceSelector}`; without a namespace services of any are meant. */
export function parseServicePeer(reader: Reader, value: unknown, path: string): ServicePeer | undefined {
  const fields = reader.object(value, path, "service");
  if (fields === undefined) return undefined;
  const byName = isGiven(fields.k8sService);
  const bySelector = isGiven(fields.k8sServiceSelector);
  if (byName && bySelector)
    reader.error(
      path,
      "conflict",
      "only one of k8sService and k8sServiceSelector may be set",
      "give each an item of its own",
    );
  else if (bySelector) return parseBySelector(reader, fields.k8sServiceSelector, at(path, "k8sServiceSelector"), path);
  else if (byName) return parseByName(reader, fields.k8sService, at(path, "k8sService"), path);
  else
    reader.error(
      path,
      "missing-field",
      "one of k8sService, k8sServiceSelector is required",
      "add k8sService: {serviceName: ..., namespace: ...}",
    );
  return undefined;
}

function parseByName(reader: Reader, value: unknown, place: string, path: string): ServicePeer | undefined {
  const fields = reader.object(value, place, "serviceName");
  if (fields === undefined) return undefined;
  const service = reader.string(fields, place, "serviceName");
  const namespace = reader.string(fields, place, "namespace");
  if (!service) {
    if (!isGiven(fields.serviceName) || service === "")
      reader.error(place, "missing-field", "serviceName is missing", "add serviceName: ...");
    return undefined;
  }
  return { service, path, ...(namespace ? { namespace } : {}) };
}

function parseBySelector(reader: Reader, value: unknown, place: string, path: string): ServicePeer | undefined {
  const fields = reader.object(value, place, "serviceSelector");
  if (fields === undefined) return undefined;
  const namespace = reader.string(fields, place, "namespace");
  if (!isGiven(fields.selector)) {
    reader.error(place, "missing-field", "selector is missing", "{} selects all services");
    return undefined;
  }
  const requirements = parseSelector(reader, fields.selector, at(place, "selector"), (key) => ({ source: "any", key }));
  return requirements && { service: createSelector(requirements), path, ...(namespace ? { namespace } : {}) };
}
