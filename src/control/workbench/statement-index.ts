/** Statement by statement: which flows between the parties of a world it speaks of. */
import { meansPeer, type Statement } from "#control/policy";
import type { NumericIdentity } from "#core/model";
import type { MatrixParty } from "./matrix.ts";
import type { PortClass } from "./ports.ts";
import type { ExposedPort } from "./workload.ts";
import type { WorkloadGroup, World } from "./world.ts";

/** A flow that a statement is about; the subject is the statement's. */
export interface MeantFlow {
  readonly subject: MatrixParty;
  readonly peer: MatrixParty;
  readonly port: PortClass;
}

/** Looks statements up; answers about peers are kept. */
export interface StatementIndex {
  /** Whether a peer of the statement stands for the identity. */
  means(statement: Statement, id: NumericIdentity): boolean;
  /** Every flow that it speaks of, one for each class of ports. */
  flows(statement: Statement, subjects: readonly WorkloadGroup[]): Iterable<MeantFlow>;
}

/** Makes an index over the given parties and classes of ports. */
export function createStatementIndex(
  { engine, groups }: World,
  parties: readonly MatrixParty[],
  ports: readonly PortClass[],
): StatementIndex {
  const known = new Map<Statement, ReadonlySet<NumericIdentity>>();
  const peersOf = (statement: Statement): ReadonlySet<NumericIdentity> => {
    let found = known.get(statement);
    if (found === undefined) {
      const ids = parties.map(({ identity }) => identity);
      found = new Set(
        ids.filter((id) => meansPeer(statement, engine.identity(id) ?? { id, labels: [] }, engine.options.clusterName)),
      );
      known.set(statement, found);
    }
    return found;
  };
  const byIdentity = new Map(groups.map((group) => [group.identity, group]));
  const partyOf = new Map(parties.map((party) => [party.identity, party]));
  return {
    means: (statement, id) => peersOf(statement).has(id),
    *flows(statement, subjects) {
      for (const group of subjects) {
        const subject = partyOf.get(group.identity);
        if (subject === undefined) continue;
        for (const peer of parties) {
          if (!peersOf(statement).has(peer.identity)) continue;
          const owner = statement.direction === "ingress" ? group : byIdentity.get(peer.identity);
          for (const port of ports) if (covers(statement, port, owner?.ports ?? [])) yield { subject, peer, port };
        }
      }
    },
  };
}

function covers({ ports }: Statement, port: PortClass, named: readonly ExposedPort[]): boolean {
  if (ports === "any") return true;
  return ports
    .flatMap(({ matches }) => matches)
    .some((match) => {
      if (match.protocol !== port.protocol) return false;
      if (match.kind === "protocol") return true;
      if (match.kind === "icmp") return !port.others && match.type === port.first;
      if (match.kind === "ports") return match.first <= port.first && match.last >= port.last;
      return named.some(
        ({ name, protocol, port: number }) =>
          name === match.name && protocol === match.protocol && number === port.first,
      );
    });
}
