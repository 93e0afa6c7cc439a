/** The annotations by which a policy of any kind is staged. */
import { at, type Fields, type Reader, show } from "./reader.ts";
import type { Audit } from "./rule.ts";

/** `"true"`: the policy reports what it would deny, and denies nothing. */
export const auditAnnotation = "policy.tsilium.io/audit";
/** When it is in force all the same: a time of RFC 3339. */
export const auditUntilAnnotation = "policy.tsilium.io/audit-until";

const time = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/** Reads them; undefined if the policy is not staged. What can't be read refuses the policy: neither mode would be meant. */
export function parseAudit(reader: Reader, object: Fields): Audit | undefined {
  const { annotations } = (object.metadata ?? {}) as { readonly annotations?: unknown };
  if (typeof annotations !== "object" || annotations === null) return undefined;
  const { [auditAnnotation]: audit, [auditUntilAnnotation]: until } = annotations as Fields;
  const place = (key: string) => at("metadata.annotations", key);
  if (audit !== undefined && audit !== "true" && audit !== "false")
    reader.error(place(auditAnnotation), "invalid-value", `found ${show(audit)}, expected "true" or "false"`);
  const untilMs = typeof until === "string" && time.test(until) ? Date.parse(until) : Number.NaN;
  if (until !== undefined && Number.isNaN(untilMs))
    reader.error(
      place(auditUntilAnnotation),
      "invalid-value",
      `found ${show(until)}, expected a time of RFC 3339`,
      "write e.g. 2030-01-31T12:00:00Z",
    );
  if (until !== undefined && audit !== "true")
    reader.warn(
      place(auditUntilAnnotation),
      "ignored",
      `the policy is not staged: without ${auditAnnotation}: "true" the time means nothing`,
      `add ${auditAnnotation}: "true", or remove it`,
    );
  if (audit !== "true") return undefined;
  return until === undefined ? {} : { untilMs };
}
