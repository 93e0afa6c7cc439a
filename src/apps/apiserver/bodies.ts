/** Reading the body of a request: bounded in size and time, JSON or YAML, with the place of a mistake. */
import type { IncomingMessage } from "node:http";
import { errorMessage } from "#core/runtime";
import { badRequest, Refusal, unsupportedMediaType } from "./status.ts";

/** Kubernetes' own limit of a request. */
const bodyLimitBytes = 3 * 1024 * 1024;

/** A read body. */
export interface Body {
  /** Without parameters, in lower case; "" if none was given. */
  readonly mediaType: string;
  /** undefined if there was no body. */
  readonly value: unknown;
}

const protobuf = "application/vnd.kubernetes.protobuf";
const yamlTypes = new Set(["application/yaml", "application/apply-patch+yaml"]);
const jsonType = /^application\/(json|[a-z-]+\+json)$/;

/** Reads and parses. Throws a Refusal: 400 with the place, 413, 415. */
export async function readBody(request: IncomingMessage): Promise<Body> {
  const mediaType = (request.headers["content-type"] ?? "").split(";")[0]!.trim().toLowerCase();
  const text = await readText(request);
  if (text === "") return { mediaType, value: undefined };
  if (mediaType === protobuf) {
    throw unsupportedMediaType(
      `the body is ${protobuf}, which this server does not read; send application/json (with kubectl: write the object to a file and use "kubectl apply -f", or "kubectl create ... --dry-run=client -o yaml | kubectl apply -f -")`,
    );
  }
  if (yamlTypes.has(mediaType)) return { mediaType, value: await parseYaml(text) };
  if (mediaType !== "" && !jsonType.test(mediaType)) {
    throw unsupportedMediaType(
      `the body of the request was in an unknown format (${mediaType}); application/json is read`,
    );
  }
  return { mediaType, value: parseJson(text) };
}

async function readText(request: IncomingMessage): Promise<string> {
  const tooLarge = () =>
    new Refusal(413, "RequestEntityTooLarge", `the body of the request is larger than ${bodyLimitBytes} bytes`);
  if (Number(request.headers["content-length"] ?? 0) > bodyLimitBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyLimitBytes) throw tooLarge();
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw badRequest("the body of the request is not UTF-8");
  }
}

function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body of the request is not JSON: ${errorMessage(error)}`);
  }
  return withoutTraps(text, value);
}

async function parseYaml(text: string): Promise<unknown> {
  try {
    return withoutTraps(text, JSON.parse(text)); // kubectl sends JSON under this name
  } catch (error) {
    if (error instanceof Refusal) throw error;
  }
  const { parse } = await import("yaml");
  try {
    return withoutTraps(text, parse(text, { maxAliasCount: 100 }));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw badRequest(`the body of the request is not YAML: ${errorMessage(error)}`);
  }
}

/** A key `__proto__` means nothing in Kubernetes and something in JavaScript: it is refused wherever it stands. */
function withoutTraps(text: string, value: unknown): unknown {
  if (/__proto__|\\u005f|\\x5f/i.test(text) && holdsTrap(value, 0)) {
    throw badRequest('the body of the request holds a key "__proto__"');
  }
  // Nothing of ours nests deeper, and recursion over it must end.
  if (depthExceeds(value, 100)) throw badRequest("the body of the request is nested more than 100 levels deep");
  return value;
}

function holdsTrap(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null || depth > 200) return depth > 200;
  return Object.hasOwn(value, "__proto__") || Object.values(value).some((inner) => holdsTrap(inner, depth + 1));
}

function depthExceeds(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (levels === 0) return true;
  return Object.values(value).some((inner) => depthExceeds(inner, levels - 1));
}
