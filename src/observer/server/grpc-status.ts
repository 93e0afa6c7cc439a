/** How a gRPC call ends. */
import { TsiliumError } from "#core/runtime";

/** gRPC status codes that are used here. */
export const Status = {
  OK: 0,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
} as const;

/** A failure with the status that the client gets. */
export class GrpcError extends TsiliumError {
  readonly status: number;

  constructor(status: keyof typeof Status, message: string, cause?: unknown) {
    super(`GRPC_${status}`, message, { cause });
    this.status = Status[status];
  }
}
