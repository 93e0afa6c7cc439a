/**
 * The durable store: one SQLite file, one writer. Writes that are waiting are made in one transaction and answered after it is
 * on disk (group commit). Everything is synchronous between BEGIN and COMMIT, so reads only ever see what is committed.
 */
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { KubeObject } from "#contracts/kube";
import { errorMessage, TsiliumError } from "#core/runtime";
import { createHistory, type History, type StoreEvent } from "./history.ts";
import type { StoredObject, StoreKey } from "./stored-object.ts";

/** Bounds of a scan: a kind, all namespaces or one, after a key, at most so many. */
interface ScanRange {
  readonly kind: string;
  readonly namespace?: string;
  readonly after?: { readonly namespace: string; readonly name: string };
  readonly limit?: number;
}

/** Reading; also possible outside of a transaction. */
interface Reader {
  get(key: StoreKey): StoredObject | undefined;
  /** In order of namespace and name. */
  scan(range: ScanRange): StoredObject[];
}

/** Reading and writing inside a transaction. What throws undoes the writes of its own operation only. */
export interface Transaction extends Reader {
  /** Stores the object under a fresh resourceVersion and returns it as stored. */
  put<T extends KubeObject>(key: StoreKey, object: T): T;
  /** Removes the object; watchers get its last state under a fresh resourceVersion, which is returned. */
  remove(key: StoreKey): KubeObject;
}

/** The store. */
export interface Store extends Reader {
  /** Revision of the last committed write. */
  revision(): number;
  /** Runs an operation; resolves with its result once that is durable, rejects with what it threw. */
  transact<T>(operation: (transaction: Transaction) => T): Promise<T>;
  /** Runs an operation and undoes it: for dry runs. */
  rehearse<T>(operation: (transaction: Transaction) => T): T;
  readonly history: History;
  close(): void;
}

const schemaVersion = 1;
/** Bounds the time for which one transaction keeps others waiting. */
const batchLimit = 256;

/** Opens or makes the store in a directory. Throws STORE_LOCKED, STORE_CORRUPT, STORE_NEWER or STORE_UNUSABLE. */
export function openStore(directory: string): Store {
  const path = join(directory, "objects.db");
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 200 });
    chmodSync(path, 0o600); // Secrets lie in it.
    // Exclusive: a second server on the same directory must fail, and no shared memory file is needed.
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    database.exec("PRAGMA cache_size = -2000; PRAGMA journal_size_limit = 4194304; BEGIN IMMEDIATE; COMMIT;");
    refuseDamage(database, path);
    prepareTables(database, path);
  } catch (cause) {
    database?.close();
    throw cause instanceof TsiliumError ? cause : openFailure(path, cause);
  }
  return createStore(database, path);
}

/** What is damaged would be missing without a word: a policy that nobody enforces, for example. Takes about 1 ms per MB. */
function refuseDamage(database: DatabaseSync, path: string): void {
  const found = String(Object.values(database.prepare("PRAGMA quick_check(1)").get() ?? {})[0]);
  // "*** in database main ***" stands above the finding.
  if (found !== "ok") throw damaged(path, found.split("\n").at(-1) ?? found);
  const hasObjects = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'objects'").get() !== undefined;
  if (!hasObjects) return;
  const bad = database.prepare("SELECT kind, namespace, name FROM objects WHERE NOT json_valid(json) LIMIT 1").get();
  if (bad !== undefined) throw damaged(path, `${bad.kind} ${bad.namespace}/${bad.name} can't be read`);
}

function damaged(path: string, why: string, cause?: unknown): TsiliumError {
  return new TsiliumError(
    "STORE_CORRUPT",
    `the store ${path} is damaged (${why}), and was left as it is; restore it from a backup, or move it away to start empty`,
    { cause },
  );
}

function prepareTables(database: DatabaseSync, path: string): void {
  const version = Number(database.prepare("PRAGMA user_version").get()?.user_version ?? 0);
  if (version > schemaVersion) {
    throw new TsiliumError(
      "STORE_NEWER",
      `the store ${path} was written by a newer version (format ${version}, this one reads up to ${schemaVersion}); use that version or another state directory`,
    );
  }
  database.exec(`
    CREATE TABLE IF NOT EXISTS objects (
      kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,
      PRIMARY KEY (kind, namespace, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS revision (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL);
    INSERT OR IGNORE INTO revision VALUES (1, 1);
    PRAGMA user_version = ${schemaVersion};
  `);
}

function openFailure(path: string, cause: unknown): TsiliumError {
  const errcode = sqliteCode(cause);
  if (errcode === 5 || errcode === 6) {
    return new TsiliumError(
      "STORE_LOCKED",
      `the store ${path} is in use: another API server runs on this state directory; stop it or set TSILIUM_INSTANCE`,
      { cause },
    );
  }
  if (errcode === 11 || errcode === 26) return damaged(path, errorMessage(cause), cause);
  return new TsiliumError(
    "STORE_UNUSABLE",
    `can't open the store ${path}: ${errorMessage(cause)}; check that the directory is writable and the disk not full`,
    { cause },
  );
}

/** SQLite's primary result code. */
function sqliteCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === "number" ? code & 0xff : undefined;
}

interface Pending {
  readonly operation: (transaction: Transaction) => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

function createStore(database: DatabaseSync, path: string): Store {
  const prepare = (sql: string): StatementSync => database.prepare(sql);
  const statements = {
    get: prepare("SELECT json FROM objects WHERE kind = ? AND namespace = ? AND name = ?"),
    scanAll: prepare(
      "SELECT namespace, name, json FROM objects WHERE kind = ? AND (namespace, name) > (?, ?) ORDER BY namespace, name LIMIT ?",
    ),
    scanNamespace: prepare(
      "SELECT namespace, name, json FROM objects WHERE kind = ? AND namespace = ? AND name > ? ORDER BY name LIMIT ?",
    ),
    put: prepare(
      "INSERT INTO objects VALUES (?, ?, ?, ?) ON CONFLICT (kind, namespace, name) DO UPDATE SET json = excluded.json",
    ),
    remove: prepare("DELETE FROM objects WHERE kind = ? AND namespace = ? AND name = ?"),
    saveRevision: prepare("UPDATE revision SET value = ?"),
  };
  let revision = Number(prepare("SELECT value FROM revision").get()!.value);
  const history = createHistory(revision);
  let queue: Pending[] = [];
  let closed = false;
  /** Events of the transaction that is being made. */
  let events: StoreEvent[] = [];

  const reader: Reader = {
    get(key) {
      const row = statements.get.get(key.kind, key.namespace, key.name);
      return row === undefined ? undefined : { ...key, json: row.json as string };
    },
    scan({ kind, namespace, after, limit = -1 }) {
      const rows =
        namespace === undefined
          ? statements.scanAll.all(kind, after?.namespace ?? "", after?.name ?? "", limit)
          : statements.scanNamespace.all(kind, namespace, after?.name ?? "", limit);
      return rows.map((row) => ({
        kind,
        namespace: row.namespace as string,
        name: row.name as string,
        json: row.json as string,
      }));
    },
  };
  const transaction: Transaction = {
    ...reader,
    put(key, object) {
      const previousJson = reader.get(key)?.json;
      revision++;
      const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
      const json = JSON.stringify(stored);
      statements.put.run(key.kind, key.namespace, key.name, json);
      events.push({ ...key, revision, type: previousJson === undefined ? "ADDED" : "MODIFIED", json, previousJson });
      return stored;
    },
    remove(key) {
      const previousJson = reader.get(key)?.json;
      if (previousJson === undefined) throw new Error(`no ${key.kind} ${key.namespace}/${key.name} to remove`);
      revision++;
      const last = JSON.parse(previousJson) as KubeObject;
      const stored = { ...last, metadata: { ...last.metadata, resourceVersion: String(revision) } };
      statements.remove.run(key.kind, key.namespace, key.name);
      events.push({ ...key, revision, type: "DELETED", json: JSON.stringify(stored), previousJson });
      return stored;
    },
  };

  /** Runs one operation so that what it wrote before throwing is undone, and nothing else. */
  function attempt<T>(operation: (transaction: Transaction) => T, keep: boolean): T {
    const before = { revision, events: events.length };
    const undo = () => {
      database.exec("ROLLBACK TO operation; RELEASE operation");
      revision = before.revision;
      events.length = before.events;
    };
    database.exec("SAVEPOINT operation");
    let result: T;
    try {
      result = operation(transaction);
    } catch (error) {
      undo();
      throw error;
    }
    if (keep) database.exec("RELEASE operation");
    else undo();
    return result;
  }

  function commitBatch(): void {
    const batch = queue.slice(0, batchLimit);
    queue = queue.slice(batchLimit);
    if (queue.length > 0) setImmediate(commitBatch);
    const before = revision;
    const answers: (() => void)[] = [];
    events = [];
    try {
      database.exec("BEGIN IMMEDIATE");
      for (const { operation, resolve, reject } of batch) {
        try {
          const value = attempt(operation, true);
          answers.push(() => resolve(value));
        } catch (error) {
          if (sqliteCode(error) !== undefined) throw error;
          answers.push(() => reject(error));
        }
      }
      if (revision !== before) statements.saveRevision.run(revision);
      database.exec("COMMIT");
    } catch (cause) {
      revision = before;
      events = [];
      if (database.isTransaction) database.exec("ROLLBACK");
      const failure = writeFailure(path, cause);
      for (const { reject } of batch) reject(failure);
      return;
    }
    const committed = events;
    events = [];
    // Watchers first: whoever gets the answer of a write may count on its event being on the way.
    if (committed.length > 0) history.append(committed);
    for (const answer of answers) answer();
  }

  return {
    ...reader,
    history,
    revision: () => revision,
    transact(operation) {
      if (closed) return Promise.reject(new TsiliumError("STORE_CLOSED", "the API server is shutting down"));
      return new Promise((resolve, reject) => {
        queue.push({ operation, resolve: resolve as (value: unknown) => void, reject });
        if (queue.length === 1) setImmediate(commitBatch);
      });
    },
    rehearse(operation) {
      database.exec("BEGIN");
      try {
        return attempt(operation, false);
      } finally {
        database.exec("ROLLBACK");
      }
    },
    close() {
      if (closed) return;
      while (queue.length > 0) commitBatch();
      closed = true;
      database.close();
    },
  };
}

function writeFailure(path: string, cause: unknown): TsiliumError {
  const errcode = sqliteCode(cause);
  // SQLITE_FULL, or SQLITE_IOERR, which is what a full disk looks like when the log can't be extended.
  if (errcode === 13 || errcode === 10) {
    return new TsiliumError(
      "STORE_FULL",
      `the write was not made: ${path} can't grow (${errorMessage(cause)}); free disk space and repeat the request`,
      { cause },
    );
  }
  return new TsiliumError("STORE_WRITE_FAILED", `the write to ${path} was not made: ${errorMessage(cause)}`, { cause });
}
