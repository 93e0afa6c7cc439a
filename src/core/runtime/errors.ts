/** The one error class. Expected outcomes are returned values; what is thrown is a failure, and says what to do next. */

/** Facts about a failure, for logs and JSON output. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** A failure with a stable code. The message says what failed, on what, why, and what to do next. */
export class TsiliumError extends Error {
  /** Stable, upper-case, documented in docs/reference/errors.md. */
  readonly code: string;
  readonly details: ErrorDetails;

  constructor(
    code: string,
    message: string,
    options: { readonly details?: ErrorDetails; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "TsiliumError";
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** The message of anything that was thrown, with those messages of its causes that it does not quote itself. */
export function errorMessage(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.message || error.name;
  if (error.cause === undefined) return own;
  const cause = errorMessage(error.cause);
  return own.includes(cause) ? own : `${own}: ${cause}`;
}

/** The `code` of an error: ours or Node's ("ENOENT"); undefined if it has none. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as Error & { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : undefined;
}
