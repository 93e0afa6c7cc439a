/** What a command's end tells a script. `docs/reference/exit-codes.md` is generated from this table. */

/** Exit codes by name. */
export const ExitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  agentNotRunning: 3,
  needsRoot: 4,
  kernelLacks: 5,
  conflict: 6,
  timedOut: 124,
  runFailed: 125,
  cannotExecute: 126,
  commandNotFound: 127,
} as const;

/** What each code means, in the order of the manual. */
export const exitCodeMeanings: readonly (readonly [code: number | string, meaning: string])[] = [
  [ExitCode.ok, "done"],
  [
    ExitCode.failed,
    "the command could not do it, `policy check` found errors, or `policy diff` a change that `--fail-on` names; the message says why",
  ],
  [ExitCode.usage, "the command line is wrong: unknown command, flag, kind or value"],
  [ExitCode.agentNotRunning, "no agent, or no API server, is running for this instance (or it is not ready yet)"],
  [ExitCode.needsRoot, "root is needed"],
  [ExitCode.kernelLacks, "this kernel lacks something the base needs; `tsilium doctor` names it"],
  [ExitCode.conflict, "something is in the way: another agent in this network namespace, a used port"],
  [ExitCode.timedOut, "what `--wait` waited for did not happen in time"],
  [ExitCode.runFailed, "`run` and `exec`: tsilium itself failed before the command started"],
  [ExitCode.cannotExecute, "`run` and `exec`: the command is not executable"],
  [ExitCode.commandNotFound, "`run` and `exec`: the command was not found"],
  ["128+n", "`run` and `exec`: the command was ended by signal n"],
  ["else", "`run` and `exec`: the command's own exit code"],
];

const byErrorCode: Readonly<Record<string, number>> = {
  USAGE: ExitCode.usage,
  BAD_ARGUMENT: ExitCode.usage,
  BAD_INSTANCE: ExitCode.usage,
  AGENT_NOT_RUNNING: ExitCode.agentNotRunning,
  AGENT_UNREACHABLE: ExitCode.agentNotRunning,
  AGENT_NOT_READY: ExitCode.agentNotRunning,
  API_NOT_RUNNING: ExitCode.agentNotRunning,
  KUBE_UNREACHABLE: ExitCode.agentNotRunning,
  AGENT_FORBIDDEN: ExitCode.needsRoot,
  NEEDS_ROOT: ExitCode.needsRoot,
  KERNEL_DENIED: ExitCode.kernelLacks,
  NO_CGROUP2: ExitCode.kernelLacks,
  VERIFIER_REJECTED: ExitCode.kernelLacks,
  AGENT_ALREADY_RUNNING: ExitCode.conflict,
  INSTANCE_IN_USE: ExitCode.conflict,
  AGENT_RUNNING: ExitCode.conflict,
  API_RUNNING: ExitCode.conflict,
  ADDRESS_IN_USE: ExitCode.conflict,
  STORE_LOCKED: ExitCode.conflict,
  RUN_FAILED: ExitCode.runFailed,
  COMMAND_NOT_EXECUTABLE: ExitCode.cannotExecute,
  COMMAND_NOT_FOUND: ExitCode.commandNotFound,
  AGENT_TIMEOUT: ExitCode.timedOut,
  TIMED_OUT: ExitCode.timedOut,
};

/** The exit code for an error's code; 1 for those that have none of their own. */
export function exitCodeFor(errorCode: string | undefined): number {
  return (errorCode === undefined ? undefined : byErrorCode[errorCode]) ?? ExitCode.failed;
}
