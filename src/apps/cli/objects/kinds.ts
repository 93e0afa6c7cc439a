/** What a person calls a kind: `pod`, `pods`, `po`, `Pod`, `cnp`. */
import { nearestName, type Resource, resources } from "#contracts/kube";
import { usageError } from "../failure.ts";

const namesOf = (resource: Resource): readonly string[] => [
  resource.plural,
  resource.singular,
  ...resource.shortNames,
  resource.kind,
];

/** The kind that a word names, without regard to case. Throws USAGE with the nearest known name. */
export function findKind(word: string): Resource {
  const lower = word.toLowerCase();
  const bare = lower.split(".")[0]!; // kubectl's long form: ciliumnetworkpolicies.cilium.io
  for (const resource of resources) {
    for (const name of namesOf(resource)) if (name.toLowerCase() === bare) return resource;
  }
  const near = nearestName(bare, resources.flatMap(namesOf));
  const known = resources.map(({ plural, shortNames }) => [plural, ...shortNames].join("|")).join(", ");
  throw usageError(
    near === undefined
      ? `there is no kind "${word}"; known are ${known}`
      : `there is no kind "${word}"; did you mean "${near}"?`,
  );
}

/** `ciliumnetworkpolicy.cilium.io/NAME`, `pod/NAME`: how an object is named in messages. */
export function objectTitle(resource: Resource, name: string): string {
  return `${resource.singular}${resource.group === "" ? "" : `.${resource.group}`}/${name}`;
}
