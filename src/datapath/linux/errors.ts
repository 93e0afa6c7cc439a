import koffi from "koffi";
import { type ErrorDetails, TsiliumError } from "#core/runtime";

const errnoNames = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));
// Linux has several names for some numbers, and some that koffi's table lacks.
for (const [name, number] of [["EAGAIN", 11], ["EDEADLK", 35], ["EOPNOTSUPP", 95], ["ENOTSUPP", 524]] as const) errnoNames.set(number, name); // biome-ignore format: a table

const texts: Readonly<Record<string, string>> = {
  EPERM: "operation not permitted",
  ENOENT: "no such thing",
  ESRCH: "not found",
  E2BIG: "too big, or the map is full",
  EAGAIN: "try again",
  ENOMEM: "out of memory",
  EACCES: "permission denied",
  EBUSY: "in use",
  EEXIST: "exists already",
  ENODEV: "no such device",
  EINVAL: "invalid argument",
  ENOSPC: "no space left",
  ENOSYS: "not in this kernel",
  EOPNOTSUPP: "not supported by this kernel",
  ENOTSUPP: "not supported by this kernel",
  EADDRINUSE: "address in use",
  EADDRNOTAVAIL: "address not available",
  ENETUNREACH: "network unreachable",
};

/** "EEXIST" for 17; "errno 600" for a number without a name. */
export function errnoName(errno: number): string {
  return errnoNames.get(errno) ?? `errno ${errno}`;
}

/** The kernel refused something. `errno` is its symbolic name ("EPERM"); the message names the operation and its object. */
export class KernelError extends TsiliumError {
  readonly errno: string;

  constructor(code: string, errno: string, message: string, details: ErrorDetails = {}) {
    super(code, message, { details: { ...details, errno } });
    this.name = "KernelError";
    this.errno = errno;
  }
}

/** Whether `error` is the kernel's refusal with one of these errnos. */
export function isErrno(error: unknown, ...names: readonly string[]): error is KernelError {
  return error instanceof KernelError && names.includes(error.errno);
}

/**
 * The error of a failed call: `what` names operation and object ("update map policy"), `why` is the kernel's own text
 * (netlink's extended ack) where there is one.
 */
export function kernelError(what: string, errno: number, why = "", details: ErrorDetails = {}): KernelError {
  const name = errnoName(errno);
  const text = texts[name] === undefined ? name : `${texts[name]} (${name})`;
  const denied = name === "EPERM" || name === "EACCES";
  const hint = !denied
    ? ""
    : process.getuid?.() === 0
      ? "; root lacks a capability here, or the kernel's lockdown mode forbids it (`tsilium doctor` tries what is left)"
      : "; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN";
  const code = denied ? "KERNEL_DENIED" : "KERNEL_REFUSED";
  return new KernelError(code, name, `${what}: ${text}${why === "" ? "" : `: ${why}`}${hint}`, details);
}
