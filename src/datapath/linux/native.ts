// The foreign functions: libc and libbpf. Loaded at first use, so that importing this module works where they are missing.
import { readFileSync } from "node:fs";
import koffi from "koffi";
import { TsiliumError } from "#core/runtime";
import { kernelError } from "./errors.ts";

type Native = (...args: unknown[]) => number;

function library(names: readonly string[], cure: string) {
  let loaded: ReturnType<typeof koffi.load> | undefined;
  return (): ReturnType<typeof koffi.load> => {
    for (const name of names) {
      if (loaded !== undefined) break;
      try {
        loaded = koffi.load(name);
      } catch (cause) {
        if (name === names.at(-1))
          throw new TsiliumError("LIBRARY_MISSING", `can't load ${names.join(" or ")}; ${cure}`, { cause });
      }
    }
    return loaded!;
  };
}

const libcHandle = library(["libc.so.6"], "Linux with glibc is needed");
const libbpfHandle = library(["libbpf.so.1"], "install Debian's libbpf1 (npm run setup does it)");

function lazy(handle: () => ReturnType<typeof koffi.load>, declaration: string): Native {
  let native: Native | undefined;
  return (...args) => {
    native ??= handle().func(declaration) as Native;
    return native(...args);
  };
}

const c = (declaration: string) => lazy(libcHandle, declaration);
const b = (declaration: string) => lazy(libbpfHandle, declaration);

/** libc, by its own names. Each returns -1 on failure with the reason in `lastErrno()`, unless its manual says otherwise. */
export const libc = {
  syscall3: c("long syscall(long number, long a, void *b, long c)"),
  syscall5: c("long syscall(long number, void *a, long b, long c, long d, unsigned long e)"),
  close: c("int close(int fd)"),
  fcntl: c("int fcntl(int fd, int command, long argument)"),
  ioctl: c("int ioctl(int fd, unsigned long request, long argument)"),
  setns: c("int setns(int fd, int type)"),
  unshare: c("int unshare(int flags)"),
  mount: c(
    "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
  ),
  umount2: c("int umount2(const char *target, int flags)"),
  mmap: c("void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)"),
  munmap: c("int munmap(void *address, size_t length)"),
  socket: c("int socket(int domain, int type, int protocol)"),
  bind: c("int bind(int fd, const void *address, uint length)"),
  listen: c("int listen(int fd, int backlog)"),
  connect: c("int connect(int fd, const void *address, uint length)"),
  getsockname: c("int getsockname(int fd, void *address, void *length)"),
  getsockopt: c("int getsockopt(int fd, int level, int name, void *value, void *length)"),
  setsockopt: c("int setsockopt(int fd, int level, int name, const void *value, uint length)"),
  send: c("long send(int fd, const void *data, size_t length, int flags)"),
  sendfile: c("long sendfile(int out, int in, void *offset, size_t count)"),
  recv: c("long recv(int fd, void *data, size_t length, int flags)"),
} as const;

/** libbpf's low-level functions return -errno. */
export const libbpf = {
  mapUpdate: b("int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)"),
  mapLookup: b("int bpf_map_lookup_elem(int fd, const void *key, void *value)"),
  mapDelete: b("int bpf_map_delete_elem(int fd, const void *key)"),
  mapNextKey: b("int bpf_map_get_next_key(int fd, const void *key, void *next)"),
  mapUpdateBatch: b("int bpf_map_update_batch(int fd, const void *keys, const void *values, void *count, void *opts)"),
  mapDeleteBatch: b("int bpf_map_delete_batch(int fd, const void *keys, void *count, void *opts)"),
  mapLookupBatch: b(
    "int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, void *count, void *opts)",
  ),
  xdpQueryId: b("int bpf_xdp_query_id(int ifindex, int flags, void *id)"),
  tcHookCreate: b("int bpf_tc_hook_create(void *hook)"),
  tcAttach: b("int bpf_tc_attach(const void *hook, void *opts)"),
  tcDetach: b("int bpf_tc_detach(const void *hook, const void *opts)"),
  tcQuery: b("int bpf_tc_query(const void *hook, void *opts)"),
  objectLoad: b("int bpf_object__load(void *object)"),
  programFd: b("int bpf_program__fd(void *program)"),
  programSetAutoload: b("int bpf_program__set_autoload(void *program, bool autoload)"),
  programSetLogBuffer: b("int bpf_program__set_log_buf(void *program, void *buffer, size_t size)"),
  mapFd: b("int bpf_map__fd(void *map)"),
  mapReuseFd: b("int bpf_map__reuse_fd(void *map, int fd)"),
  mapSetMaxEntries: b("int bpf_map__set_max_entries(void *map, uint32_t n)"),
  mapType: b("int bpf_map__type(void *map)"),
  mapKeySize: b("uint32_t bpf_map__key_size(void *map)"),
  mapValueSize: b("uint32_t bpf_map__value_size(void *map)"),
  mapMaxEntries: b("uint32_t bpf_map__max_entries(void *map)"),
  mapFlags: b("uint32_t bpf_map__map_flags(void *map)"),
} as const;

type ToPointer = (...args: unknown[]) => bigint | null;
type ToText = (...args: unknown[]) => string;

/** libbpf's functions that return handles and texts. */
export const libbpfObjects = {
  open: b("void *bpf_object__open_file(const char *path, const void *opts)") as unknown as ToPointer,
  close: b("void bpf_object__close(void *object)") as unknown as (object: bigint) => void,
  nextProgram: b("void *bpf_object__next_program(void *object, void *previous)") as unknown as ToPointer,
  programName: b("const char *bpf_program__name(void *program)") as unknown as ToText,
  programSection: b("const char *bpf_program__section_name(void *program)") as unknown as ToText,
  nextMap: b("void *bpf_object__next_map(void *object, void *previous)") as unknown as ToPointer,
  mapName: b("const char *bpf_map__name(void *map)") as unknown as ToText,
  version: b("const char *libbpf_version_string()") as unknown as ToText,
} as const;

let printed: string[] | undefined;

/** Runs `action` with libbpf's messages collected instead of printed to the terminal; returns them beside the result. */
export function withLibbpfMessages<T>(action: () => T): { readonly result: T; readonly messages: readonly string[] } {
  if (printed === undefined) {
    const format = libcHandle().func("int vsnprintf(void *buffer, size_t size, const char *format, void *arguments)");
    const text = Buffer.alloc(16384);
    koffi.proto("int libbpf_print_fn(int level, const char *format, void *arguments)");
    const callback = koffi.register((level: number, template: string, args: unknown) => {
      const length: number = format(text, text.length, template, args);
      if (level <= 1) printed?.push(text.toString("utf8", 0, Math.min(length, text.length - 1)).trimEnd());
      return length;
    }, "libbpf_print_fn *");
    (b("void *libbpf_set_print(void *callback)") as unknown as ToPointer)(callback);
  }
  printed = [];
  return { result: action(), messages: printed };
}

/** errno of the last failed libc call. */
export function lastErrno(): number {
  return koffi.errno();
}

/** The result of a libc call; throws when it is -1. `what` names operation and object. */
export function checked(result: number, what: string): number {
  if (Number(result) === -1) throw kernelError(what, lastErrno());
  return result;
}

/** Address of an array's memory for a pointer inside a struct. The caller keeps the array alive over the call. */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}

/** Memory behind a pointer, without a copy. */
export function memoryAt(pointer: unknown, length: number): ArrayBuffer {
  return koffi.view(pointer, length);
}

/** System call numbers that libc has no wrapper for. */
export const syscallNumber = (() => {
  const table = {
    x64: { bpf: 321, perfEventOpen: 298 },
    arm64: { bpf: 280, perfEventOpen: 241 },
  } as const;
  return (name: keyof typeof table.x64): number => {
    const numbers = (table as Partial<Record<string, Record<keyof typeof table.x64, number>>>)[process.arch];
    if (numbers === undefined)
      throw new TsiliumError(
        "UNSUPPORTED_MACHINE",
        `no system call numbers for ${process.arch}; x64 and arm64 are supported`,
      );
    return numbers[name];
  };
})();

let possible: number | undefined;

/** Number of CPUs that the kernel keeps per-CPU values for (possible, not only online ones). */
export function possibleCpus(): number {
  // The file holds a list of ranges such as "0-3,8-11".
  possible ??= readFileSync("/sys/devices/system/cpu/possible", "utf8")
    .trim()
    .split(",")
    .reduce((sum, range) => {
      const [first = 0, last = first] = range.split("-").map(Number);
      return sum + last - first + 1;
    }, 0);
  return possible;
}

/** A second descriptor of the same thing, closed on exec. */
export function duplicateFd(fd: number): number {
  const F_DUPFD_CLOEXEC = 1030;
  return checked(libc.fcntl(fd, F_DUPFD_CLOEXEC, 3), `duplicate descriptor ${fd}`);
}
