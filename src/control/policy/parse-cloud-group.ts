/** Groups of addresses that a cloud provider keeps, as peers: fromGroups, toGroups. */
import { at, type Fields, isGiven, type Reader } from "./reader.ts";
import type { CloudGroup, GroupPeer } from "./rule.ts";

/** `{aws: {labels, securityGroupsIds, securityGroupsNames}}`. */
export function parseCloudGroup(reader: Reader, value: unknown, path: string): GroupPeer | undefined {
  const fields = reader.object(value, path, "cloudGroup");
  if (fields === undefined) return undefined;
  const place = at(path, "aws");
  if (!isGiven(fields.aws)) {
    reader.error(path, "missing-field", "the group names no provider", "add aws: {securityGroupsIds: [...]}");
    return undefined;
  }
  const aws = reader.object(fields.aws, place, "awsGroup");
  if (aws === undefined) return undefined;
  const region = reader.string(aws, place, "region");
  const cloud: CloudGroup = {
    provider: "aws",
    labels: readLabels(reader, aws, place),
    securityGroupIds: readTexts(reader, aws, place, "securityGroupsIds"),
    securityGroupNames: readTexts(reader, aws, place, "securityGroupsNames"),
    ...(region ? { region } : {}),
  };
  return { group: cloudGroupName(cloud), cloud, except: [], path };
}

/** The name under which the engine knows such a group: no CiliumCIDRGroup can have it. */
export function cloudGroupName({ provider, labels, securityGroupIds, securityGroupNames, region }: CloudGroup): string {
  const tags = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${provider}:${JSON.stringify([tags, securityGroupIds, securityGroupNames, region ?? ""])}`;
}

function readTexts(reader: Reader, fields: Fields, path: string, key: string): string[] {
  const texts: string[] = [];
  for (const [i, item] of (reader.list(fields, path, key) ?? []).entries()) {
    if (typeof item === "string") texts.push(item);
    else reader.notString(item, `${at(path, key)}[${i}]`);
  }
  return [...new Set(texts)].sort();
}

function readLabels(reader: Reader, fields: Fields, path: string): Record<string, string> {
  const value = reader.field(fields, path, "labels");
  const labels = value === undefined ? undefined : reader.map(value, at(path, "labels"));
  const texts = Object.keys(labels ?? {}).flatMap((key) => {
    const text = reader.string(labels!, at(path, "labels"), key);
    return text === undefined ? [] : [[key, text] as const];
  });
  return Object.fromEntries(texts);
}
