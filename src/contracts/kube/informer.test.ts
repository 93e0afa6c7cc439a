import assert from "node:assert/strict";
import { test } from "node:test";
import { TsiliumError } from "#core/runtime";
import { type InformerHandlers, startInformer } from "./informer.ts";
import type { KubeList, KubeObject, WatchEvent } from "./meta.ts";

const object = (name: string, resourceVersion: string, uid = `uid-${name}`): KubeObject => ({
  metadata: { name, namespace: "default", resourceVersion, uid },
});
const listOf = (resourceVersion: string, ...items: KubeObject[]): KubeList<KubeObject> => ({
  metadata: { resourceVersion },
  items,
});

/** A server whose every answer the test decides on. */
function createScript() {
  const steps: string[] = [];
  const lists: (KubeList<KubeObject> | TsiliumError)[] = [];
  type Watch = {
    revision: string;
    emit(...events: WatchEvent<KubeObject>[]): void;
    end(error?: TsiliumError): void;
  };
  let waiting: ((watch: Watch) => void) | undefined;
  const early: Watch[] = [];
  const source = {
    async list() {
      steps.push("list");
      const next = lists.shift();
      if (next === undefined) throw new TsiliumError("KUBE_UNREACHABLE", "no more lists");
      if (next instanceof TsiliumError) throw next;
      return next;
    },
    watch(
      revision: string,
      signal: AbortSignal,
      onEvents: (events: readonly WatchEvent<KubeObject>[]) => void,
      onOpen: () => void,
    ) {
      steps.push(`watch from ${revision}`);
      onOpen();
      return new Promise<void>((resolve, reject) => {
        signal.addEventListener("abort", () => resolve());
        const watch: Watch = {
          revision,
          emit: (...events) => onEvents(events),
          end: (error) => (error === undefined ? resolve() : reject(error)),
        };
        if (waiting === undefined) early.push(watch);
        else waiting(watch);
        waiting = undefined;
      });
    },
  };
  const nextWatch = () =>
    new Promise<Watch>((resolve) => {
      const ready = early.shift();
      if (ready === undefined) waiting = resolve;
      else resolve(ready);
    });
  return { source, lists, steps, nextWatch };
}

function createRecorder() {
  const told: string[] = [];
  const handlers: InformerHandlers<KubeObject> = {
    onSync: (objects) => void told.push(`sync ${objects.map(({ metadata }) => metadata.name).join(",")}`),
    onChange: (changes) =>
      void told.push(
        changes.map((c) => `${c.kind} ${c.object.metadata.name}@${c.object.metadata.resourceVersion}`).join(","),
      ),
    onError: (error) => void told.push(error.code),
    onRecovered: () => void told.push("recovered"),
  };
  return { told, handlers };
}

test("the first state comes once as a whole, then changes in order", async () => {
  const { source, lists, nextWatch } = createScript();
  const { told, handlers } = createRecorder();
  lists.push(listOf("5", object("a", "1"), object("b", "2")));
  const informer = startInformer(source, handlers, { retryMs: 1 });
  const watch = await nextWatch();
  await informer.synced;
  watch.emit(
    { type: "ADDED", object: object("c", "6") },
    { type: "MODIFIED", object: object("a", "7") },
    { type: "DELETED", object: object("b", "8") },
  );
  assert.deepEqual(told, ["sync a,b", "added c@6,changed a@7,deleted b@8"]);
  assert.deepEqual([...informer.objects.keys()], ["default/a", "default/c"]);
  informer.stop();
});

test("an ended watch is resumed from the last event or bookmark, without listing again", async () => {
  const { source, lists, steps, nextWatch } = createScript();
  const { told, handlers } = createRecorder();
  lists.push(listOf("5"));
  const informer = startInformer(source, handlers, { retryMs: 1 });
  const first = await nextWatch();
  first.emit({ type: "ADDED", object: object("a", "6") });
  first.end();
  const second = await nextWatch();
  second.emit({ type: "BOOKMARK", object: { metadata: { resourceVersion: "9" } } });
  second.end(new TsiliumError("KUBE_UNREACHABLE", "gone"));
  const third = await nextWatch();
  third.emit({ type: "ADDED", object: object("a", "6") }); // told again: nothing new
  assert.deepEqual(steps, ["list", "watch from 5", "watch from 6", "watch from 9"]);
  assert.deepEqual(told, ["sync ", "added a@6", "KUBE_UNREACHABLE", "recovered"]);
  informer.stop();
});

test("after a gap the state is listed again and the differences are told, deletions and new identities of old names included", async () => {
  const { source, lists, nextWatch } = createScript();
  const { told, handlers } = createRecorder();
  lists.push(listOf("5", object("gone", "1"), object("same", "2"), object("renewed", "3"), object("changed", "4")));
  const informer = startInformer(source, handlers, { retryMs: 1 });
  const watch = await nextWatch();
  lists.push(new TsiliumError("KUBE_UNREACHABLE", "still away"));
  lists.push(
    listOf(
      "20",
      object("same", "2"),
      object("renewed", "11", "other-uid"),
      object("changed", "12"),
      object("new", "13"),
    ),
  );
  watch.end(new TsiliumError("KUBE_EXPIRED", "too old"));
  await nextWatch();
  assert.deepEqual(told, [
    "sync gone,same,renewed,changed",
    "KUBE_EXPIRED",
    "KUBE_UNREACHABLE",
    "deleted gone@1,deleted renewed@3,added renewed@11,changed changed@12,added new@13",
    "recovered",
  ]);
  informer.stop();
});

test("a stopped informer tells nothing more, and one that was never synced says so", async () => {
  const { source, lists, nextWatch } = createScript();
  const { told, handlers } = createRecorder();
  lists.push(listOf("5"));
  const informer = startInformer(source, handlers, { retryMs: 1 });
  const watch = await nextWatch();
  informer.stop();
  watch.emit({ type: "ADDED", object: object("late", "6") });
  assert.deepEqual(told, ["sync "]);

  const never = startInformer(createScript().source, createRecorder().handlers, { retryMs: 1 });
  never.stop();
  await assert.rejects(never.synced, { code: "KUBE_WATCH_STOPPED" });
});
