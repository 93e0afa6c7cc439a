/** Kinds that run pods. */

/** Kinds whose template makes pods, and the way to it. */
export const podTemplatePaths: Readonly<Record<string, readonly string[]>> = {
  Deployment: ["spec", "template"],
  ReplicaSet: ["spec", "template"],
  StatefulSet: ["spec", "template"],
  DaemonSet: ["spec", "template"],
  ReplicationController: ["spec", "template"],
  Job: ["spec", "template"],
  CronJob: ["spec", "jobTemplate", "spec", "template"],
};

/** Whether objects of that kind are pods, or make some. */
export function isWorkloadKind(kind: unknown): boolean {
  return kind === "Pod" || (typeof kind === "string" && Object.hasOwn(podTemplatePaths, kind));
}
