/** `tsilium completion bash`: a completion script made from the command tree, so it cannot fall behind it. */
import type { Command } from "commander";

/** A bash script that completes sub-commands and long flags. */
export function bashCompletion(program: Command): string {
  const cases: string[] = [];
  const visit = (command: Command, path: string): void => {
    const flags = command.options.map((option) => option.long).filter((long) => long !== undefined);
    const words = [...command.commands.map((sub) => sub.name()), ...flags, "--help"];
    cases.push(`    "${path}") words="${words.join(" ")}" ;;`);
    for (const sub of command.commands) visit(sub, path === "" ? sub.name() : `${path} ${sub.name()}`);
  };
  visit(program, "");
  return `# bash completion of ${program.name()}: source <(${program.name()} completion bash)
_${program.name()}() {
  local current=\${COMP_WORDS[COMP_CWORD]} path="" word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [ "$word" = -- ] && return
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  # Arguments are not part of a command's name: drop words from the end until the name is known.
  while :; do
    case "$path" in
${cases.join("\n")}
    esac
    [ -n "$words" ] && break
    case "$path" in *" "*) path=\${path% *} ;; *) path="" ;; esac
  done
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  [ \${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- "$current")
}
complete -o filenames -F _${program.name()} ${program.name()}
`;
}
