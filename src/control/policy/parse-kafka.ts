/** Kafka rules, as Cilium had them up to 1.19. */
import type { KafkaMatch } from "#contracts/proxy";
import { at, placed, type Reader, show } from "./reader.ts";
import type { Placed } from "./rule.ts";

/** Reads a list of Kafka rules; the list is not empty. */
export function parseKafkaRules(reader: Reader, items: readonly unknown[], path: string): (KafkaMatch & Placed)[] {
  return placed(items, path, (item, place) => parseKafkaRule(reader, item, place));
}

function parseKafkaRule(reader: Reader, value: unknown, path: string): KafkaMatch | undefined {
  const fields = reader.object(value, path, "kafka");
  if (fields === undefined) return undefined;
  const text = (key: string) => reader.string(fields, path, key) || undefined;
  const bad = (key: string, expected: string, hint = ""): undefined => {
    reader.error(at(path, key), "invalid-value", `found ${show(fields[key])}, expected ${expected}`, hint);
  };
  const role = text("role")?.toLowerCase();
  if (role !== undefined && role !== "produce" && role !== "consume") bad("role", "produce or consume");
  const apiKey = text("apiKey")?.toLowerCase();
  if (apiKey !== undefined && !/^[a-z]+$/.test(apiKey)) bad("apiKey", "the name of a request", "e.g. fetch");
  if (role !== undefined && apiKey !== undefined)
    reader.error(path, "conflict", "Cannot set both Role and APIKey", "keep role");
  const apiVersion = text("apiVersion");
  if (apiVersion !== undefined && !/^\d{1,5}$/.test(apiVersion)) bad("apiVersion", "a number as text");
  const topic = text("topic");
  if (topic !== undefined && (topic.length > 255 || !/^[a-zA-Z0-9._-]+$/.test(topic)))
    bad("topic", "the name of a topic", "at most 255 letters, digits, '.', '_' and '-'");
  const clientId = text("clientID");
  return {
    ...(role === "produce" || role === "consume" ? { role } : {}),
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(apiVersion === undefined ? {} : { apiVersion }),
    ...(clientId === undefined ? {} : { clientId }),
    ...(topic === undefined ? {} : { topic }),
  };
}
