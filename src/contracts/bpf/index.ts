/**
 * The kernel/userspace ABI: codecs, codes and branded numbers, generated from bpf/include/abi through BTF.
 * Numbers are in host order, whatever order the kernel keeps them in; addresses are 16 bytes.
 */
export { type Codec, enumName, flagNames } from "./codec.ts";
export * from "./generated/abi.ts";
